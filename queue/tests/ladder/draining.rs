//! A file that a process fills and drains itself: what cannot be moved stays there, and in nobody's way.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use testbed::{Moto, SqsQueue, eventually, in_time};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use webhook_queue::{Event, Publish, Publisher, QueueConfig, QueueUrl, drain, keep_draining};

use crate::stage::read;

const PATIENCE: Duration = Duration::from_secs(60);
/// Before anything that was left behind is tried again.
const SOON: Duration = Duration::from_secs(30);
/// More than a drain has in hand at a time.
const MANY: usize = 130;

struct Stage {
    first: SqsQueue<'static>,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Stage {
        Stage { first: Moto::shared().await.queue(false, json!({})).await, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }

    fn config(&self) -> QueueConfig {
        read(&self.first.url(), &format!("sqlite:{}", self.path().display()))
    }

    /// Puts events into the file, in no order.
    async fn fill(&self, events: impl Iterator<Item = Event>) {
        let publisher = Publisher::open(&QueueConfig::new(QueueUrl::Sqlite(self.path()))).unwrap();
        let mut tasks = JoinSet::new();
        for event in events {
            let publisher = publisher.clone();
            tasks.spawn(async move { publisher.publish(&event, Instant::now() + PATIENCE).await.unwrap() });
        }
        tasks.join_all().await;
        publisher.close().await;
    }

    /// Drains by command, and as the process does that fills the file: both move what can be moved, and leave the rest.
    async fn leaves(&self, stuck: usize, why: &str) {
        self.fill((0..5).map(|_| Event::new("shop", "order", "x"))).await;
        let error = in_time("the drain", drain(&self.config())).await.unwrap_err();
        let told = webhook_queue::chain(&error);
        assert!(told.contains("5 events were moved"), "{told}");
        assert!(told.contains(&format!("{stuck} events cannot be moved")) && told.contains(why), "{told}");
        assert_eq!((self.first.take_all().await.len(), self.events()), (5, stuck));

        self.keeps(stuck, async || ()).await;
    }

    /// What comes while the process drains is moved soon, also after `between`.
    async fn keeps(&self, stuck: usize, between: impl AsyncFn()) {
        let (config, stop) = (self.config(), CancellationToken::new());
        let publisher = Publisher::open(&config).unwrap();
        let draining = keep_draining(&config, &publisher, &stop);
        let filling = async {
            for _ in 0..3 {
                self.fill((0..5).map(|_| Event::new("shop", "order", "x"))).await;
                eventually("they are moved", SOON, async || (self.first.count().await == 5).then_some(())).await;
                assert_eq!(self.first.take_all().await.len(), 5);
                between().await;
            }
            stop.cancel();
        };
        tokio::join!(draining, filling);
        assert_eq!(self.events(), stuck);
    }

    fn events(&self) -> usize {
        let file = rusqlite::Connection::open(self.path()).unwrap();
        file.query_row("SELECT count(*) FROM deliveries", [], |row| row.get::<_, i64>(0)).unwrap() as usize
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_stays_and_is_in_nobodys_way() {
    let stage = Stage::new().await;
    let limit = Publisher::open(&stage.config()).unwrap().limits()[0].1;
    stage.fill((0..MANY).map(|_| Event::new("shop", "order", vec![b'x'; limit + 1]))).await;
    stage.leaves(MANY, "the body is larger than").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_stays_and_is_in_nobodys_way() {
    let stage = Stage::new().await;
    stage.fill((0..MANY).map(|_| refused())).await;
    stage.leaves(MANY, "with its headers").await;
}

/// Its body is small.
fn refused() -> Event {
    let mut event = Event::new("shop", "order", "x");
    event.http.headers = vec![("x-large".to_owned(), "x".repeat(1024 * 1024))];
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_for_longer_than_its_ttl_is_moved() {
    let stage = Stage::new().await;
    stage.fill((0..5).map(|_| Event::new("shop", "order", "x"))).await;
    let config = stage.config();
    let ttl_ago = i64::try_from(config.ttl.as_millis()).unwrap();
    let file = rusqlite::Connection::open(stage.path()).unwrap();
    assert_eq!(file.execute("UPDATE deliveries SET due = due - ?1", [ttl_ago]).unwrap(), 5);
    assert_eq!(in_time("the drain", drain(&config)).await.unwrap().moved, 5);
    assert_eq!(stage.first.take_all().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slow_clock_puts_before_other_events_is_moved_as_soon() {
    let stage = Stage::new().await;
    stage.fill(std::iter::once(refused())).await;
    let slow = "CREATE TRIGGER IF NOT EXISTS slow AFTER INSERT ON deliveries
                BEGIN UPDATE deliveries SET due = due - 60000 WHERE seq = NEW.seq; END";
    let between = async || _ = rusqlite::Connection::open(stage.path()).unwrap().execute(slow, []).unwrap();
    stage.keeps(1, between).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_told_to_stop_does_not_wait_for_a_full_disk() {
    let stage = Stage::new().await;
    stage.fill(std::iter::once(Event::new("shop", "order", "x"))).await;
    let file = rusqlite::Connection::open(stage.path()).unwrap();
    let full = "CREATE TRIGGER full BEFORE DELETE ON deliveries BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
    file.execute(full, []).unwrap();

    let (config, stop) = (stage.config(), CancellationToken::new());
    let publisher = Publisher::open(&config).unwrap();
    let stopping = async {
        eventually("it is confirmed", PATIENCE, async || (stage.first.count().await == 1).then_some(())).await;
        stop.cancel();
        Instant::now()
    };
    let drained =
        tokio::time::timeout(PATIENCE, async { tokio::join!(keep_draining(&config, &publisher, &stop), stopping) });
    let ((), stopped) = drained.await.unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(15), "{:?}", stopped.elapsed());

    file.execute("DROP TRIGGER full", []).unwrap();
    drain(&config).await.unwrap();
    assert_eq!((stage.events(), stage.first.take_all().await.len()), (0, 2), "a copy, and no loss");
}
