//! One connection to the file, opened with care.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::file::{self, Identity};
use super::schema;
use crate::{BoxError, ConfigError, Problem, chain};

/// Before this version, two connections to one write-ahead log could lose a commit.
const OLDEST_SQLITE: i32 = 3_051_003;
/// How long a transaction waits for another process to end its own.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// How often it looks. SQLite's own handler sleeps up to 100 ms, which starves whoever waits beside a busy writer.
const BUSY_POLL: Duration = Duration::from_micros(300);
/// More than there are different statements.
const STATEMENTS: usize = 64;
/// The write-ahead log is copied into the database when it has this many pages.
const CHECKPOINT_PAGES: i64 = 4_000;
/// Beyond this size the log is emptied even if others must wait for it.
const LOG_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// How often that is tried.
const BOUND_LOG_EVERY: Duration = Duration::from_secs(1);
/// Free pages given back to the file system at a time.
const VACUUM_PAGES: i64 = 1_000;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("there is no file")]
    Missing,
    #[error("the file was deleted or replaced")]
    Replaced,
    #[error("the file is a SQLite database, but not a queue: name another file")]
    Foreign,
    #[error(
        "the file has schema version {found} and this program knows versions up to {}: update this program",
        schema::VERSION
    )]
    Newer { found: i64 },
    #[error("this program was built with SQLite {found}, which can lose commits: build it with 3.51.3 or newer")]
    OldSqlite { found: &'static str },
    #[error("the file cannot be made or opened")]
    Io(#[from] io::Error),
    #[error("SQLite failed")]
    Sqlite(#[from] rusqlite::Error),
}

impl StoreError {
    /// What SQLite says it was.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            StoreError::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }

    /// Another process was writing for the whole time.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// Only an operator can put this right.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, StoreError::Foreign | StoreError::Newer { .. } | StoreError::OldSqlite { .. })
            || matches!(self.code(), Some(ErrorCode::NotADatabase))
    }
}

/// An open queue file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    identity: Identity,
    /// Whether to wait for other processes.
    patient: Arc<AtomicBool>,
    bounded: Option<Instant>,
}

impl Store {
    /// Opens the file, making it where there is none. `previous` is what the caller had open before.
    pub(super) fn create(path: &Path, previous: Option<Identity>) -> Result<Store, StoreError> {
        let _held = file::lock_directory(path)?;
        file::set_leftovers_aside(path, previous)?;
        let before = Identity::of(path);
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        schema::create_or_migrate(&mut connection.0)?;
        Store::new(connection, path, before)
    }

    /// Opens a file that somebody else makes.
    pub(super) fn open(path: &Path, previous: Option<Identity>) -> Result<Store, StoreError> {
        if !Identity::of(path).exists() {
            return Err(StoreError::Missing);
        }
        let _held = file::lock_directory(path)?;
        if !Identity::of(path).exists() {
            return Err(StoreError::Missing);
        }
        file::set_leftovers_aside(path, previous)?;
        let before = Identity::of(path);
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if schema::version(&connection.0)? == 0 {
            return Err(StoreError::Missing);
        }
        schema::create_or_migrate(&mut connection.0)?;
        Store::new(connection, path, before)
    }

    /// Opens the file to look at it.
    pub(super) fn read(path: &Path) -> Result<Store, StoreError> {
        let before = Identity::of(path);
        if !before.exists() {
            return Err(StoreError::Missing);
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        if schema::version(&connection.0)? == 0 {
            return Err(StoreError::Missing);
        }
        Store::new(connection, path, before)
    }

    /// `before` is what the path named before it was opened: only then is it known what was opened.
    fn new(
        (connection, patient): (Connection, Arc<AtomicBool>),
        path: &Path,
        before: Identity,
    ) -> Result<Store, StoreError> {
        let identity = Identity::of(path);
        if before.differs(&identity) {
            return Err(StoreError::Replaced);
        }
        Ok(Store { connection, path: path.to_owned(), identity, patient, bounded: None })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What is open, to be handed to the next [`Store::create`] or [`Store::open`].
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Begins to write. Others cannot until it ends, so keep it short.
    pub(super) fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    /// Fails if the path has come to name another file. Asked *after* a commit, and before anybody is told of it.
    pub(super) fn verify(&self) -> Result<(), StoreError> {
        if Identity::of(&self.path) == self.identity { Ok(()) } else { Err(StoreError::Replaced) }
    }

    /// Writes something that changes nothing, to see whether the file can be written again.
    pub(super) fn prove(&mut self) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        // A newer program may have migrated the file while it was open here.
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
        self.verify()
    }

    /// Changes whenever another connection, of any process, has committed.
    pub(super) fn data_version(&self) -> Result<i64, StoreError> {
        Ok(self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
    }

    /// Keeps the write-ahead log bounded even while readers and writers keep SQLite from starting it afresh. Nobody's
    /// answer waits for it: what does not succeed at once is tried again later.
    pub(super) fn bound_log(&mut self) {
        let bytes = std::fs::metadata(file::log_path(&self.path)).map_or(0, |metadata| metadata.len());
        if bytes <= LOG_LIMIT_BYTES || self.bounded.is_some_and(|last| last.elapsed() < BOUND_LOG_EVERY) {
            return;
        }
        self.bounded = Some(Instant::now());
        self.patient.store(false, Ordering::Relaxed);
        let busy = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        self.patient.store(true, Ordering::Relaxed);
        if !matches!(busy, Ok(false)) {
            let path = self.path.display();
            tracing::warn!(%path, bytes, "the queue's write-ahead log grows while somebody keeps reading the file");
        }
    }

    /// Gives some free pages back to the file system. To be called when there is nothing else to do.
    pub(super) fn shrink(&self) -> Result<(), StoreError> {
        let free: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        if free > VACUUM_PAGES {
            // One page for each step.
            let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
            let mut steps = statement.query([])?;
            while steps.next()?.is_some() {}
        }
        Ok(())
    }
}

/// A connection, and the switch for whether it waits for other processes.
fn connect(path: &Path, access: OpenFlags) -> Result<(Connection, Arc<AtomicBool>), StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(StoreError::OldSqlite { found: rusqlite::version() });
    }
    let mut connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let patient = Arc::new(AtomicBool::new(true));
    let (waits, mut since) = (Arc::clone(&patient), Instant::now());
    connection.busy_handler(Some(move |tries| {
        if tries == 0 {
            since = Instant::now();
        }
        std::thread::sleep(BUSY_POLL);
        waits.load(Ordering::Relaxed) && since.elapsed() < BUSY_WAIT
    }))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", i64::try_from(LOG_LIMIT_BYTES).unwrap_or(i64::MAX))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok((connection, patient))
}

/// The absolute path of a file that the queue can live in.
pub(super) fn checked_path(path: &Path) -> Result<PathBuf, ConfigError> {
    let path = file::absolute(path);
    match file::network_file_system(&path) {
        None => Ok(path),
        Some(kind) => Err(config_error(format!(
            "{} lies on a network file system ({kind}), where SQLite loses data: name a path on a local disk",
            path.display()
        ))),
    }
}

/// A file that cannot be used, as a problem of the variable that names it.
pub(super) fn unusable(path: &Path, error: &StoreError) -> ConfigError {
    config_error(format!("{}: {}", path.display(), chain(error)))
}

/// A thread that the system would not start.
pub(super) fn no_thread(error: io::Error) -> ConfigError {
    config_error(format!("no thread could be started for the queue: {}", BoxError::from(error)))
}

fn config_error(message: String) -> ConfigError {
    ConfigError { problems: vec![Problem { variable: "QUEUE_URL".to_owned(), message }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_leaves_a_file_that_was_migrated_meanwhile_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(&folder.path().join("q.db"), None).unwrap();
        store.connection.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
        store.prove().unwrap();
        assert!(matches!(schema::version(&store.connection), Err(StoreError::Newer { .. })));
    }
}
