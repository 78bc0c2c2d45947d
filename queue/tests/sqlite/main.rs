//! What is particular to the SQLite queue: several processes on one file, what becomes of the file, leases.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod child;

mod crash;
mod file;
mod leases;
mod waking;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::{Instant, timeout};
use webhook_queue::{Delivery, Event, Publish, Publisher, QueueConfig, QueueUrl, Received, Subscribe, Subscriber};

/// Long enough for a busy machine; a test that needs as long hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A path in a folder of its own.
fn fresh() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    (folder, path)
}

fn config(path: &Path) -> QueueConfig {
    QueueConfig::new(QueueUrl::Sqlite(path.to_owned()))
}

fn publisher(path: &Path) -> Publisher {
    Publisher::open(&config(path)).unwrap()
}

fn subscriber(path: &Path, prefetch: u16) -> Subscriber {
    Subscriber::open(&config(path), prefetch).unwrap()
}

fn connection(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

fn count(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

async fn publish(publisher: &Publisher, bodies: &[&str]) {
    for body in bodies {
        publisher.publish(&Event::new("shop", "order", (*body).to_owned()), soon()).await.unwrap();
    }
}

async fn receive(subscriber: &mut Subscriber) -> Delivery {
    match timeout(PATIENCE, subscriber.next()).await.expect("nothing came") {
        Received::Delivery(delivery) => delivery,
        Received::Suspects => panic!("suspects, and nobody died"),
    }
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.event().body.to_vec()).unwrap()
}
