//! What the first queue refuses stays where it is, and stops nothing else.

use std::collections::HashSet;
use std::time::Duration;

use testbed::eventually;
use tokio::time::Instant;
use webhook_queue::{Event, Publish, Publisher};

use crate::PATIENCE;
use crate::stage::{KEY, Stage, fill, read};

/// What has a queue to go to.
fn good(number: usize) -> Event {
    Event::new("shop", KEY, number.to_string())
}

/// What has none.
fn refused(number: usize) -> Event {
    Event::new("shop", "unbound", number.to_string())
}

fn ids(events: &[Event]) -> HashSet<&str> {
    events.iter().map(|event| &*event.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_stops_neither_its_neighbours_nor_the_next_fallback() {
    let (mut stage, queue) = Stage::with_sqs(false).await;
    stage.routing_key = "{type}";
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("fallback.db").display());
    stage.fallback = format!("{file} {}", queue.url());
    fill(&file, (0..50).map(refused)).await;
    let mut sent = fill(&file, (0..20).map(good)).await;
    fill(&queue.url(), (0..22).map(refused)).await;
    sent.extend(fill(&queue.url(), (0..30).map(good)).await);

    let (code, printed) = stage.drain().await;
    assert_eq!(code, 1, "{printed}");
    for told in ["50 events were moved", "50 events cannot be moved", "22 events cannot be moved"] {
        assert!(printed.contains(told), "{printed}");
    }
    assert_eq!(ids(&stage.take().await), ids(&sent));
    assert_eq!(queue.counts().await, (22, 0), "they can be seen again");

    // As when the missing binding was made.
    stage.routing_key = KEY;
    let (code, printed) = stage.drain().await;
    assert_eq!(code, 0, "{printed}");
    assert_eq!(stage.take().await.len(), 72);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_group_stops_no_other() {
    let (mut stage, queue) = Stage::with_sqs(true).await;
    stage.routing_key = "{type}";
    let publisher = Publisher::open(&read(&queue.url())).unwrap();
    let mut sent = Vec::new();
    for number in 0..75 {
        let mut event = if number == 0 { refused(number) } else { good(number) };
        // The blocked group has more than one batch, and comes first.
        event.tenant = Some(if number < 25 { "blocked" } else { "free" }.to_owned());
        publisher.publish(&event, Instant::now() + PATIENCE).await.unwrap();
        sent.push(event);
    }
    let (code, printed) = stage.drain().await;
    assert!(code == 1 && printed.contains("50 events were moved"), "{printed}");
    assert!(printed.contains("25 events cannot be moved"), "{printed}");
    let order = |events: &[Event]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
    assert_eq!(order(&stage.take().await), order(&sent[25..]));

    stage.routing_key = KEY;
    assert_eq!(stage.drain().await.0, 0);
    assert_eq!(order(&stage.take().await), order(&sent[..25]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_from_a_fifo_queue_is_deleted_at_once() {
    let (stage, queue) = Stage::with_sqs(true).await;
    let publisher = Publisher::open(&read(&queue.url())).unwrap();
    for number in 0..10 {
        publisher.publish(&good(number), Instant::now() + PATIENCE).await.unwrap();
    }
    stage.proxy.delay(Duration::from_millis(50));
    let mut drain = stage.start();
    let left = async || {
        let left = queue.count().await;
        (left < 10).then_some(left)
    };
    let left = eventually("the first is deleted", PATIENCE, left).await;
    drain.kill().await.unwrap();
    assert!(left > 0, "all were deleted at the end");
    let moved = stage.take().await.len();
    assert!((10 - queue.count().await..=10 - queue.count().await + 1).contains(&moved), "{moved} were moved");
}
