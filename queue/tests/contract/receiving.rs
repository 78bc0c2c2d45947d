//! The promises of `Subscribe::next`.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use webhook_queue::{Received, Settlement, Subscribe};

use crate::queue::{
    PATIENCE, Queue, at_last, body, nothing_comes, nothing_is_left, publish, publish_at_last, receive, receive_any,
    soon,
};

/// Short, and long enough for a busy machine to receive within it.
const TTL: Duration = Duration::from_millis(700);

pub(crate) async fn an_event_comes_again_until_it_is_settled_for_good<Q: Queue>() {
    let queue = Q::fresh().await;
    let events = publish(&queue.publisher(), &["x"]).await;
    let mut subscriber = queue.subscriber(1);
    for attempt in 1..=3 {
        let delivery = receive(&mut subscriber).await;
        assert_eq!((delivery.event(), delivery.attempt()), (&events[0], attempt));
        delivery.settle(Settlement::Retry { after: Duration::ZERO }).await.unwrap();
    }
    receive(&mut subscriber).await.settle(Settlement::Ack).await.unwrap();
    nothing_is_left(&mut subscriber).await;
}

pub(crate) async fn a_delivery_belongs_to_its_holder<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["held"]).await;
    let mut holder = queue.subscriber(1);
    let held = receive(&mut holder).await;
    publish(&publisher, &["free"]).await;
    let mut other = queue.subscriber(1);
    let free = receive(&mut other).await;
    assert_eq!((body(&held), body(&free)), ("held".to_owned(), "free".to_owned()));
    nothing_is_left(&mut other).await;
    held.settle(Settlement::Ack).await.unwrap();
    free.settle(Settlement::Ack).await.unwrap();
    nothing_is_left(&mut other).await;
}

pub(crate) async fn at_most_prefetch_deliveries_are_held<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["1", "2", "3", "4", "5"]).await;
    let mut narrow = queue.subscriber(2);
    let first = receive(&mut narrow).await;
    let _second = receive(&mut narrow).await;
    nothing_is_left(&mut narrow).await;
    // The rest is free for others.
    let mut other = queue.subscriber(10);
    for _ in 0..3 {
        receive(&mut other).await.settle(Settlement::Ack).await.unwrap();
    }
    publish(&queue.publisher(), &["6"]).await;
    other.pause().await;
    first.settle(Settlement::Ack).await.unwrap();
    let sixth = receive_any(&mut narrow).await;
    assert_eq!(body(&sixth), "6");
}

pub(crate) async fn a_queue_that_is_not_there_yet_is_waited_for<Q: Queue>() {
    let queue = Q::absent().await;
    let mut subscriber = queue.subscriber(1);
    nothing_comes(&mut subscriber).await;
    queue.set_up().await;
    publish_at_last(&queue.publisher(), &crate::queue::event("x")).await;
    receive(&mut subscriber).await.settle(Settlement::Ack).await.unwrap();
}

pub(crate) async fn a_queue_that_is_away_is_waited_for<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    let mut subscriber = queue.subscriber(1);
    publish(&publisher, &["before"]).await;
    receive(&mut subscriber).await.settle(Settlement::Ack).await.unwrap();
    queue.take_away().await;
    nothing_comes(&mut subscriber).await;
    queue.bring_back().await;
    publish_at_last(&publisher, &crate::queue::event("after")).await;
    let give_up = soon();
    loop {
        assert!(Instant::now() < give_up);
        let delivery = receive_any(&mut subscriber).await;
        let done = body(&delivery) == "after";
        if delivery.settle(Settlement::Ack).await.is_ok() && done {
            break;
        }
    }
}

pub(crate) async fn dropping_the_future_loses_nothing<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    let mut subscriber = queue.subscriber(3);
    let publishing = tokio::spawn(async move {
        for number in 0..100 {
            publish(&publisher, &[&number.to_string()]).await;
        }
    });
    let (mut seen, give_up) = (0, at_last());
    while seen < 100 {
        assert!(Instant::now() < give_up, "{seen} of 100 came");
        match timeout(Duration::from_micros(300), subscriber.next()).await {
            Ok(Received::Delivery(delivery)) => {
                delivery.settle(Settlement::Ack).await.unwrap();
                seen += 1;
            }
            Ok(Received::Suspects) => panic!("nobody died"),
            Err(_) => {}
        }
    }
    publishing.await.unwrap();
    nothing_is_left(&mut subscriber).await;
}

pub(crate) async fn an_event_that_outlives_the_ttl_is_not_received<Q: Queue>() {
    let queue = Q::with_ttl(TTL).await;
    let publisher = queue.publisher();
    publish(&publisher, &["old"]).await;
    tokio::time::sleep(TTL * 2).await;
    let mut subscriber = queue.subscriber(10);
    nothing_is_left(&mut subscriber).await;
    publish(&publisher, &["new"]).await;
    let delivery = receive(&mut subscriber).await;
    assert_eq!(body(&delivery), "new");
}

pub(crate) async fn an_event_that_outlives_the_ttl_is_a_dead_letter<Q: Queue>() {
    let queue = Q::with_ttl(TTL).await;
    let old = publish(&queue.publisher(), &["old"]).await;
    tokio::time::sleep(TTL * 2).await;
    let _subscriber = queue.subscriber(10);
    let dead = testbed::eventually("the expired event is a dead letter", PATIENCE, async || {
        queue.take_dead_letters().await.pop()
    })
    .await;
    assert_eq!((dead.id, dead.reason.as_str(), dead.attempts), (old[0].id.clone(), "expired", 0));
}
