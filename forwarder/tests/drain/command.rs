//! `webhook-forwarder drain`.

use std::collections::{HashMap, HashSet};

use testbed::eventually;
use webhook_queue::{Event, Publish, Publisher, QueueConfig, QueueUrl};

use crate::PATIENCE;
use crate::stage::{Stage, read};

fn sorted(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by(|a, b| a.id.cmp(&b.id));
    events
}

/// A file of its own.
fn sqlite(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("fallback.db").display())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_on_sqs_is_moved_as_it_was() {
    let (stage, queue) = Stage::with_sqs(false).await;
    let filled = stage.fill(45).await;
    let (code, printed) = stage.drain().await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("empty, 45 events moved to amqp://") && !printed.contains("ERROR"), "{printed}");
    assert_eq!(sorted(stage.take().await), sorted(filled));
    assert_eq!(queue.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_a_file_is_moved_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(sqlite(&folder)).await;
    let filled = stage.fill(500).await;
    let (code, printed) = stage.drain().await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("empty, 500 events moved"), "{printed}");
    assert_eq!(sorted(stage.take().await), sorted(filled));
    let (code, printed) = stage.drain().await;
    assert!(code == 0 && printed.contains("empty, 0 events moved"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_keeps_its_order() {
    let (stage, queue) = Stage::with_sqs(true).await;
    let publisher = Publisher::open(&read(&queue.url())).unwrap();
    let mut sent: HashMap<String, Vec<String>> = HashMap::new();
    for number in 0..24 {
        let mut event = Event::new("shop", "order", number.to_string());
        event.tenant = Some(format!("tenant-{}", number % 2));
        publisher.publish(&event, tokio::time::Instant::now() + PATIENCE).await.unwrap();
        sent.entry(event.tenant.unwrap()).or_default().push(event.id);
    }
    assert_eq!(stage.drain().await.0, 0);
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for event in stage.take().await {
        found.entry(event.tenant.unwrap()).or_default().push(event.id);
    }
    assert_eq!(found, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_a_drain_of_sqs_is_killed() {
    let (stage, queue) = Stage::with_sqs(false).await;
    killed_in_the_middle(&stage, 150).await;
    assert_eq!(queue.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_a_drain_of_a_file_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    killed_in_the_middle(&Stage::new(sqlite(&folder)).await, 8_000).await;
}

async fn killed_in_the_middle(stage: &Stage, events: usize) {
    let filled: HashSet<String> = stage.fill(events).await.into_iter().map(|event| event.id).collect();
    let mut drain = stage.start();
    let moved = eventually("one is moved", PATIENCE, async || stage.vhost.get("e-conomic-webhooks").await).await;
    drain.kill().await.unwrap();
    let mut first: HashSet<String> = stage.take().await.into_iter().map(|event| event.id).collect();
    first.insert(moved["properties"]["message_id"].as_str().unwrap().to_owned());
    assert!(first.len() < events, "it was to be killed in the middle");
    let (code, printed) = stage.drain().await;
    assert_eq!(code, 0, "{printed}");
    let second: HashSet<String> = stage.take().await.into_iter().map(|event| event.id).collect();
    let lost: Vec<_> = filled.iter().filter(|id| !first.contains(*id) && !second.contains(*id)).collect();
    assert!(lost.is_empty(), "{} are lost", lost.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_its_place_while_the_broker_is_away() {
    let (stage, queue) = Stage::with_sqs(false).await;
    stage.fill(15).await;
    stage.proxy.cut();
    let (code, printed) = stage.drain().await;
    assert_eq!(code, 1);
    assert!(printed.contains("could not be drained; 0 events were moved"), "{printed}");
    assert_eq!(queue.count().await, 15);
    stage.proxy.heal();
    assert_eq!(stage.drain().await.0, 0);
    assert_eq!(stage.take().await.len(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_stays_and_is_told() {
    let (stage, queue) = Stage::with_sqs(false).await;
    queue.send("not ours").await;
    stage.fill(12).await;
    let (code, printed) = stage.drain().await;
    assert_eq!(code, 1);
    assert!(printed.contains("12 events were moved") && printed.contains("1 events cannot be moved"), "{printed}");
    assert!(printed.contains("it is no JSON object") && !printed.contains("not ours"), "{printed}");
    assert_eq!(stage.take().await.len(), 12);
    assert_eq!(queue.count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unbound_queue_loses_nothing() {
    let (stage, queue) = Stage::with_sqs(false).await;
    stage.fill(3).await;
    stage.vhost.unbind("e-conomic.direct", "e-conomic-webhooks", "webhook").await;
    let (code, printed) = stage.drain().await;
    assert!(code == 1 && printed.contains("`webhook-forwarder setup` declares it"), "{printed}");
    assert_eq!(queue.count().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fallback_there_is_nothing_to_drain() {
    let config = QueueConfig::new(QueueUrl::parse("sqlite:/nowhere/x.db").unwrap());
    assert!(config.fallbacks.is_empty());
    let stage = Stage::new(String::new()).await;
    let (code, printed) = stage.drain().await;
    assert_eq!(code, 2);
    assert!(printed.contains("QUEUE_FALLBACK_URLS: is not set"), "{printed}");
}
