//! The promises of `Delivery::settle`.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};
use webhook_queue::{DeadLetter, LeaseLost, Reason, Settlement, Subscribe};

use crate::queue::{Dead, PATIENCE, QUIET, Queue, body, nothing_is_left, publish, receive, receive_any, soon};

fn letter(error: &str) -> Settlement {
    Settlement::DeadLetter(DeadLetter {
        reason: Reason::Handler,
        error: error.to_owned(),
        handler: Some("shop/order".to_owned()),
    })
}

/// A dead letter is on its way for a moment.
async fn dead_letter<Q: Queue>(queue: &Q) -> Dead {
    testbed::eventually("a dead letter", PATIENCE, async || queue.take_dead_letters().await.pop()).await
}

pub(crate) async fn ack_means_that_it_never_comes_again<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["1", "2"]).await;
    let mut subscriber = queue.subscriber(10);
    for _ in 0..2 {
        receive(&mut subscriber).await.settle(Settlement::Ack).await.unwrap();
    }
    subscriber.close().await;
    nothing_is_left(&mut queue.subscriber(10)).await;
    assert_eq!(queue.take_dead_letters().await, []);
}

pub(crate) async fn retry_comes_again_as_the_next_attempt_and_not_before_the_delay<Q: Queue>() {
    let queue = Q::fresh().await;
    let events = publish(&queue.publisher(), &["x"]).await;
    let mut subscriber = queue.subscriber(10);
    let after = Duration::from_secs(1);
    for attempt in 1..=2 {
        let delivery = receive(&mut subscriber).await;
        assert_eq!((delivery.event(), delivery.attempt()), (&events[0], attempt));
        let start = Instant::now();
        delivery.settle(Settlement::Retry { after }).await.unwrap();
        let again = receive(&mut subscriber).await;
        assert!(start.elapsed() >= after - Duration::from_millis(20), "after {:?}", start.elapsed());
        assert!(start.elapsed() < after * 4, "after {:?}", start.elapsed());
        drop(again);
    }
}

pub(crate) async fn dead_letter_moves_it_with_the_reason<Q: Queue>() {
    let queue = Q::fresh().await;
    let events = publish(&queue.publisher(), &["x"]).await;
    let mut subscriber = queue.subscriber(10);
    receive(&mut subscriber).await.settle(Settlement::Retry { after: Duration::ZERO }).await.unwrap();
    receive(&mut subscriber).await.settle(letter("no such product")).await.unwrap();
    nothing_is_left(&mut subscriber).await;
    let expected = Dead {
        id: events[0].id.clone(),
        reason: "handler".to_owned(),
        error: "no such product".to_owned(),
        attempts: 2,
        handler: Some("shop/order".to_owned()),
    };
    assert_eq!(dead_letter(&queue).await, expected);
}

pub(crate) async fn a_dead_letter_keeps_the_first_four_kibibytes_of_the_error<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["x"]).await;
    let error = format!("x{}", "æ".repeat(4096));
    receive(&mut queue.subscriber(1)).await.settle(letter(&error)).await.unwrap();
    let kept = dead_letter(&queue).await.error;
    // The character that does not fit is left out whole.
    assert_eq!(kept, error[..4095]);
}

pub(crate) async fn release_comes_again_at_once_as_the_same_attempt<Q: Queue>() {
    let queue = Q::fresh().await;
    let events = publish(&queue.publisher(), &["x"]).await;
    let mut subscriber = queue.subscriber(1);
    receive(&mut subscriber).await.settle(Settlement::Retry { after: Duration::ZERO }).await.unwrap();
    for _ in 0..3 {
        let delivery = receive_any(&mut subscriber).await;
        assert_eq!((delivery.event(), delivery.attempt(), delivery.crashes()), (&events[0], 2, 0));
        delivery.settle(Settlement::Release).await.unwrap();
    }
}

pub(crate) async fn a_delivery_that_is_dropped_is_handed_back<Q: Queue>() {
    let queue = Q::fresh().await;
    let events = publish(&queue.publisher(), &["x"]).await;
    let mut subscriber = queue.subscriber(1);
    for _ in 0..3 {
        let delivery = receive_any(&mut subscriber).await;
        assert_eq!((delivery.event(), delivery.attempt()), (&events[0], 1));
        drop(delivery);
    }
}

pub(crate) async fn a_settlement_waits_while_the_queue_cannot_take_it<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["x"]).await;
    let mut subscriber = queue.subscriber(1);
    let delivery = receive(&mut subscriber).await;
    queue.stall().await;
    let mut settling = tokio::spawn(delivery.settle(Settlement::Retry { after: Duration::ZERO }));
    assert!(timeout(QUIET, &mut settling).await.is_err(), "it did not wait");
    queue.bring_back().await;
    let settled = timeout(PATIENCE, settling).await.unwrap().unwrap();
    let again = receive_any(&mut subscriber).await;
    if settled.is_ok() {
        assert_eq!(again.attempt(), 2);
    }
}

pub(crate) async fn a_settlement_that_is_dropped_hands_the_event_back<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["x"]).await;
    let mut subscriber = queue.subscriber(1);
    let delivery = receive(&mut subscriber).await;
    queue.stall().await;
    let settling = delivery.settle(Settlement::Retry { after: Duration::ZERO });
    assert!(timeout(QUIET, settling).await.is_err(), "it did not wait");
    queue.bring_back().await;
    receive_any(&mut subscriber).await.settle(Settlement::Ack).await.unwrap();
}

pub(crate) async fn a_delay_beyond_all_times_is_no_mistake<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["x"]).await;
    let mut subscriber = queue.subscriber(1);
    receive(&mut subscriber).await.settle(Settlement::Retry { after: Duration::MAX }).await.unwrap();
    nothing_is_left(&mut subscriber).await;
}

pub(crate) async fn lease_lost_means_that_nothing_was_settled<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["ack", "letter"]).await;
    let mut holder = queue.subscriber(10);
    let (first, second) = (receive(&mut holder).await, receive(&mut holder).await);
    holder.close().await;
    assert_eq!(first.settle(Settlement::Ack).await, Err(LeaseLost));
    assert_eq!(second.settle(letter("too late")).await, Err(LeaseLost));

    let mut subscriber = queue.subscriber(10);
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let delivery = receive_any(&mut subscriber).await;
        bodies.push(body(&delivery));
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, ["ack", "letter"]);
    assert_eq!(queue.take_dead_letters().await, []);
}

pub(crate) async fn first_received_is_when_a_consumer_first_received_it<Q: Queue>() {
    let queue = Q::fresh().await;
    let published = SystemTime::now();
    publish(&queue.publisher(), &["x"]).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let mut subscriber = queue.subscriber(1);
    let delivery = receive(&mut subscriber).await;
    let first = delivery.first_received();
    // Brokers keep whole seconds.
    assert!(first >= published + Duration::from_millis(200), "it had not been received then");
    assert!(first <= SystemTime::now() + Duration::from_secs(1));
    delivery.settle(Settlement::Retry { after: Duration::from_secs(1) }).await.unwrap();
    let again = timeout(soon() - Instant::now(), receive(&mut subscriber)).await.unwrap();
    let moved = again.first_received().duration_since(first).unwrap_or_else(|earlier| earlier.duration());
    assert!(moved < Duration::from_secs(1), "a retry moved it by {moved:?}");
}
