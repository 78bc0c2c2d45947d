//! The suite, run against the SQLite queue.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::Connection;

use crate::queue::{Dead, Queue, Refusing};

every_queue!(crate::sqlite::Sqlite);
queue_that_refuses!(crate::sqlite::Sqlite);
queue_that_keeps_what_expires!(crate::sqlite::Sqlite);

/// A file in a folder of its own.
pub(crate) struct Sqlite {
    folder: tempfile::TempDir,
    ttl: Duration,
    /// Holds the write lock while the queue is stalled.
    stalled: Mutex<Option<Connection>>,
}

impl Sqlite {
    fn file(&self) -> PathBuf {
        self.folder.path().join("here/queue.db")
    }

    fn connection(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }
}

impl Queue for Sqlite {
    async fn with_ttl(ttl: Duration) -> Sqlite {
        let queue = Sqlite { ttl, ..Sqlite::absent().await };
        queue.set_up().await;
        queue
    }

    async fn absent() -> Sqlite {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("here")).unwrap();
        Sqlite { folder, ttl: Duration::from_secs(604_800), stalled: Mutex::new(None) }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("QUEUE_URL", format!("sqlite:{}", self.file().display())),
            ("QUEUE_TTL", format!("{}ms", self.ttl.as_millis())),
        ]
    }

    /// The whole folder: with the file alone gone, a publisher would make a new one.
    async fn take_away(&self) {
        std::fs::rename(self.folder.path().join("here"), self.folder.path().join("away")).unwrap();
    }

    async fn stall(&self) {
        let connection = self.connection();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        *self.stalled.lock().unwrap() = Some(connection);
    }

    async fn bring_back(&self) {
        if self.stalled.lock().unwrap().take().is_none() {
            std::fs::rename(self.folder.path().join("away"), self.folder.path().join("here")).unwrap();
        }
    }

    /// As if half a minute had gone by.
    async fn let_leases_lapse(&self) {
        self.connection().execute("UPDATE deliveries SET lease_until = 1 WHERE lease IS NOT NULL", []).unwrap();
    }

    async fn take_dead_letters(&self) -> Vec<Dead> {
        let mut connection = self.connection();
        // One that arrives in between must not be deleted unseen.
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        let dead = transaction
            .prepare(
                "SELECT id, reason, error, attempts, handler FROM dead_letters JOIN events USING (seq) ORDER BY number",
            )
            .unwrap()
            .query_map([], |row| {
                Ok(Dead {
                    id: row.get(0)?,
                    reason: row.get(1)?,
                    error: row.get(2)?,
                    attempts: row.get(3)?,
                    handler: row.get(4)?,
                })
            })
            .unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        transaction.execute("DELETE FROM dead_letters", []).unwrap();
        transaction.commit().unwrap();
        dead
    }
}

impl Refusing for Sqlite {
    async fn refuse(&self) {
        let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.type = 'refused'
                       BEGIN SELECT RAISE(ABORT, 'refused by the test'); END";
        self.connection().execute_batch(trigger).unwrap();
    }
}
