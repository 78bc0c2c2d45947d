//! The forwarder on the SQLite queue, against one transaction for each webhook.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot run says why")]

use std::time::Instant;

use bench::{BODY_BYTES, Figures, ROUNDS, forwarder, per_second, webhooks_per_second};
use webhook_queue::{QueueConfig, QueueUrl};

const WEBHOOKS: usize = 50_000;
const TRANSACTIONS: usize = 3_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut figures = Figures::default();
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        figures.note("one transaction for each webhook", one_by_one(&folder.path().join(format!("plain-{round}.db"))));
        let file = folder.path().join(format!("queue-{round}.db"));
        let queue = QueueConfig::new(QueueUrl::Sqlite(file));
        let address = forwarder(&queue).await;
        figures.note("forwarder, 64 connections", webhooks_per_second(address, 64, WEBHOOKS).await);
    }
    figures.print();
    println!("forwarder, 64 connections: aim at least 15000/s on 2 cores");
    figures.ratio("forwarder, 64 connections", "one transaction for each webhook", "more than 1");
}

/// A row as large, in a table as plain as can be, committed with the same safety.
fn one_by_one(file: &std::path::Path) -> f64 {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (body BLOB);")
        .unwrap();
    let body = [b'x'; BODY_BYTES];
    let mut insert = connection.prepare("INSERT INTO t VALUES (?1)").unwrap();
    let began = Instant::now();
    for _ in 0..TRANSACTIONS {
        insert.execute([&body[..]]).unwrap();
    }
    per_second(TRANSACTIONS, began.elapsed())
}
