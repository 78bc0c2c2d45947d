//! What group commit is worth: confirmed publishes per second through the SQLite queue, beside one bare transaction
//! for each event. `cargo bench -p webhook-queue --bench sqlite`
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints figures")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use webhook_queue::{Event, Publish, Publisher, QueueConfig, QueueUrl, Received, Settlement, Subscribe, Subscriber};

const ROUNDS: usize = 7;
const CALLERS: usize = 64;
const PUBLISHES: usize = 30_000;
const BARE: usize = 3_000;
const BODY_BYTES: usize = 1024;
const PREFETCH: u16 = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut grouped, mut bare, mut handled) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir_in(".").unwrap();
        let config = QueueConfig::new(QueueUrl::Sqlite(folder.path().join("queue.db")));
        grouped.push(runtime.block_on(publish(&config)));
        bare.push(one_transaction_each(&folder.path().join("bare.db")));
        handled.push(runtime.block_on(consume(&config)));
    }
    let (grouped, bare, handled) = (median(grouped), median(bare), median(handled));
    println!("medians of {ROUNDS} interleaved rounds, bodies of {BODY_BYTES} bytes");
    println!("confirmed publishes/s, {CALLERS} callers: {grouped:>9.0}");
    println!("one transaction per publish/s:        {bare:>9.0}");
    println!("ratio:                                {:>9.1}", grouped / bare);
    println!("acknowledged events/s, prefetch {PREFETCH}:   {handled:>9.0}");
}

/// Events per second through the queue.
async fn publish(config: &QueueConfig) -> f64 {
    let publisher = Publisher::open(config).unwrap();
    let event = Arc::new(sample());
    let start = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (publisher, event) = (publisher.clone(), Arc::clone(&event));
        callers.spawn(async move {
            for _ in 0..PUBLISHES / CALLERS {
                let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
                publisher.publish(&event, deadline).await.unwrap();
            }
        });
    }
    while callers.join_next().await.is_some_and(|joined| joined.is_ok()) {}
    let seconds = start.elapsed().as_secs_f64();
    publisher.close().await;
    (PUBLISHES / CALLERS * CALLERS) as f64 / seconds
}

/// Events per second out of the queue that `publish` has filled.
async fn consume(config: &QueueConfig) -> f64 {
    let mut subscriber = Subscriber::open(config, PREFETCH).unwrap();
    let start = Instant::now();
    let mut settling = tokio::task::JoinSet::new();
    for _ in 0..PUBLISHES / CALLERS * CALLERS {
        let Received::Delivery(delivery) = subscriber.next().await else { panic!("nobody died") };
        settling.spawn(async move { delivery.settle(Settlement::Ack).await.unwrap() });
        while settling.try_join_next().is_some() {}
    }
    settling.join_all().await;
    let seconds = start.elapsed().as_secs_f64();
    subscriber.close().await;
    (PUBLISHES / CALLERS * CALLERS) as f64 / seconds
}

/// Rows per second with the same durability and one transaction for each.
fn one_transaction_each(path: &Path) -> f64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (a TEXT, body BLOB) STRICT",
        )
        .unwrap();
    let event = sample();
    let attributes = format!("{:?}", event.attributes());
    let start = Instant::now();
    for _ in 0..BARE {
        connection
            .prepare_cached("INSERT INTO t VALUES (?1, ?2)")
            .unwrap()
            .execute((&attributes, &event.body[..]))
            .unwrap();
    }
    BARE as f64 / start.elapsed().as_secs_f64()
}

fn sample() -> Event {
    let mut event = Event::new("e-conomic", "product-updated", vec![b'x'; BODY_BYTES]);
    event.http.path = "/webhooks/e-conomic/product-updated".to_owned();
    event.http.headers = vec![
        ("host".into(), "hooks.example.com".into()),
        ("user-agent".into(), "provider/1.0".into()),
        ("content-type".into(), "application/json".into()),
        ("content-length".into(), BODY_BYTES.to_string()),
    ];
    event
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
