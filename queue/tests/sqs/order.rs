//! FIFO queues: the order of a group holds until one of its events is a dead letter.

use std::time::{Duration, SystemTime};

use serde_json::json;
use testbed::{Moto, SqsQueue, eventually, in_time};
use tokio::time::timeout;
use webhook_queue::{DeadLetter, Delivery, Reason, Received, Settlement, Subscribe, Subscriber};

use super::{body, publish, receive, subscriber};

async fn queue_of(bodies: &[&str]) -> SqsQueue<'static> {
    let queue = Moto::shared().await.queue(true, json!({})).await;
    publish(&queue.url(), bodies).await;
    queue
}

/// The next delivery, alone or not: one that another subscriber handed back looks as if its holder had crashed.
async fn receive_any(subscriber: &mut Subscriber) -> Delivery {
    let receiving = async {
        loop {
            match subscriber.next().await {
                Received::Delivery(delivery) => return delivery,
                Received::Suspects => {
                    if let Some(delivery) = subscriber.next_suspect().await {
                        return delivery;
                    }
                }
            }
        }
    };
    timeout(Duration::from_secs(15), receiving).await.expect("nothing came")
}

/// SQS hands out several messages of a group together, and leaves it to us to keep their order.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_of_a_group_is_handed_out_when_the_one_before_is_settled() {
    let queue = queue_of(&["1", "2", "3"]).await;
    let mut subscriber = subscriber(&queue.url());
    for expected in ["1", "2", "3"] {
        let delivery = receive(&mut subscriber).await;
        assert_eq!(body(&delivery), expected);
        assert!(timeout(Duration::from_millis(700), subscriber.next()).await.is_err(), "one at a time");
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
    }
    assert_eq!(queue.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_holds_its_group_back() {
    let queue = queue_of(&["1", "2", "3"]).await;
    let (mut one, mut other) = (subscriber(&queue.url()), subscriber(&queue.url()));
    let first = tokio::select! {
        delivery = receive_any(&mut one) => delivery,
        delivery = receive_any(&mut other) => delivery,
    };
    assert_eq!(body(&first), "1");
    in_time("the settlement", first.settle(Settlement::Retry { after: Duration::from_secs(2) })).await.unwrap();
    for expected in ["1", "2", "3"] {
        let delivery = tokio::select! {
            delivery = receive_any(&mut one) => delivery,
            delivery = receive_any(&mut other) => delivery,
        };
        assert_eq!(body(&delivery), expected);
        assert_eq!(delivery.crashes(), 0);
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
    }
}

/// SQS hands it out each time together with the one before it, and calls that received.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_for_retries_of_an_event_does_not_run_while_it_waits_behind_another() {
    let queue = queue_of(&["1", "2"]).await;
    let mut subscriber = subscriber(&queue.url());
    let (mut first_received, mut retried) = (None, SystemTime::now());
    for attempt in 1..=3 {
        let first = receive(&mut subscriber).await;
        assert_eq!((body(&first).as_str(), first.attempt()), ("1", attempt));
        assert_eq!(*first_received.get_or_insert(first.first_received()), first.first_received());
        let settlement = if attempt < 3 {
            retried = SystemTime::now();
            Settlement::Retry { after: Duration::from_secs(2) }
        } else {
            Settlement::Ack
        };
        in_time("the settlement", first.settle(settlement)).await.unwrap();
    }
    let second = receive(&mut subscriber).await;
    assert_eq!((body(&second).as_str(), second.attempt()), ("2", 1));
    assert!(second.first_received() > retried, "it was received, but nobody has tried it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_for_retries_goes_on_although_the_app_pauses_before_it_is_given_the_event_again() {
    let queue = queue_of(&["1"]).await;
    let mut subscriber = subscriber(&queue.url());
    let first = receive(&mut subscriber).await;
    let first_received = first.first_received();
    in_time("the settlement", first.settle(Settlement::Retry { after: Duration::ZERO })).await.unwrap();
    let received_again = async || (queue.counts().await == (0, 1)).then_some(());
    eventually("it is received again", Duration::from_secs(20), received_again).await;
    in_time("the pause", subscriber.pause()).await;
    in_time("the resumption", subscriber.resume()).await;
    let again = receive(&mut subscriber).await;
    assert_eq!((again.attempt(), again.first_received()), (2, first_received));
    in_time("the settlement", again.settle(Settlement::Ack)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_frees_its_group_and_may_die_again_within_the_window_for_duplicates() {
    let queue = queue_of(&["1", "2"]).await;
    let mut subscriber = subscriber(&queue.url());
    let letter =
        || Settlement::DeadLetter(DeadLetter { reason: Reason::Handler, error: "\u{1b}no".to_owned(), handler: None });
    let first = receive(&mut subscriber).await;
    let id = first.event().id.clone();
    in_time("the settlement", first.settle(letter())).await.unwrap();
    let second = receive(&mut subscriber).await;
    assert_eq!(body(&second), "2");
    in_time("the settlement", second.settle(Settlement::Ack)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(in_time("the replay", subscriber.replay(usize::MAX)).await.unwrap(), 1);
        let again = receive(&mut subscriber).await;
        assert_eq!((&again.event().id, again.attempt()), (&id, 1));
        in_time("the settlement", again.settle(letter())).await.unwrap();
    }
    let dead = queue.dead().take_all().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["Attributes"]["MessageGroupId"], "shop:123456");
}
