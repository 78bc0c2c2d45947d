//! The promises of `Subscribe::next_suspect`: what was held by a process when it died.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use webhook_queue::{Delivery, Received, Settlement, Subscribe, Subscriber};

use crate::child::{PREFETCH, Process, Task};
use crate::queue::{PATIENCE, Queue, nothing_is_left, publish, receive, receive_any, soon};

/// Another process takes `count` events and dies; the rest of the queue notices.
async fn die_holding<Q: Queue>(queue: &Q, count: u16) {
    let (holder, _) = Process::start(queue, Task::Hold(count)).says(usize::from(count)).await;
    holder.kill();
    queue.let_leases_lapse().await;
}

/// Another process takes one suspect and dies. Says which.
async fn die_holding_a_suspect<Q: Queue>(queue: &Q) -> String {
    let (holder, mut said) = Process::start(queue, Task::HoldSuspect).says(1).await;
    holder.kill();
    queue.let_leases_lapse().await;
    said.remove(0)
}

/// The next suspect; an ordinary delivery is a failure.
async fn receive_suspect(subscriber: &mut Subscriber) -> Delivery {
    let give_up = soon();
    loop {
        if let Some(suspect) = subscriber.next_suspect().await {
            return suspect;
        }
        assert!(Instant::now() < give_up, "no suspect came");
        match timeout(PATIENCE, subscriber.next()).await {
            Ok(Received::Suspects) => {}
            Ok(Received::Delivery(delivery)) => panic!("{delivery:?} is no suspect"),
            Err(_) => panic!("no suspects were announced"),
        }
    }
}

pub(crate) async fn events_that_a_dead_process_held_are_announced_and_not_received<Q: Queue>() {
    let queue = Q::fresh().await;
    let events = publish(&queue.publisher(), &["1", "2", "3"]).await;
    die_holding(&queue, 3).await;

    let mut subscriber = queue.subscriber(PREFETCH);
    match timeout(PATIENCE, subscriber.next()).await.unwrap() {
        Received::Suspects => {}
        Received::Delivery(delivery) => panic!("{delivery:?} is a suspect"),
    }
    let mut expected: BTreeSet<String> = events.into_iter().map(|event| event.id).collect();
    while !expected.is_empty() {
        let suspect = receive_suspect(&mut subscriber).await;
        assert!(expected.remove(&suspect.event().id));
        assert_eq!(suspect.crashes(), 0);
        suspect.settle(Settlement::Ack).await.unwrap();
    }
    assert!(subscriber.next_suspect().await.is_none());
}

pub(crate) async fn none_means_that_none_is_waiting<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["innocent"]).await;
    let mut subscriber = queue.subscriber(PREFETCH);
    assert!(subscriber.next_suspect().await.is_none());
    receive(&mut subscriber).await.settle(Settlement::Ack).await.unwrap();
    assert!(subscriber.next_suspect().await.is_none());
}

pub(crate) async fn crashes_blame_the_event_and_never_its_neighbours<Q: Queue>() {
    let queue = Q::fresh().await;
    let events = publish(&queue.publisher(), &["1", "2", "3"]).await;
    die_holding(&queue, 3).await;
    let mut expected: BTreeMap<String, u32> = events.into_iter().map(|event| (event.id, 0)).collect();
    for _ in 0..2 {
        let killer = die_holding_a_suspect(&queue).await;
        *expected.get_mut(&killer).unwrap() += 1;
    }

    let mut subscriber = queue.subscriber(PREFETCH);
    let (mut found, mut handed_back) = (BTreeMap::new(), BTreeSet::new());
    while found.len() < expected.len() {
        let suspect = receive_suspect(&mut subscriber).await;
        let id = suspect.event().id.clone();
        if suspect.crashes() > 0 && handed_back.insert(id.clone()) {
            // While others are settled it is not forgotten.
            drop(suspect);
            continue;
        }
        found.insert(id, suspect.crashes());
        suspect.settle(Settlement::Ack).await.unwrap();
    }
    assert_eq!(found, expected);
}

pub(crate) async fn a_suspect_settled_with_retry_is_an_ordinary_event_again<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["x"]).await;
    die_holding(&queue, 1).await;
    let mut subscriber = queue.subscriber(PREFETCH);
    let suspect = receive_suspect(&mut subscriber).await;
    let attempt = suspect.attempt();
    suspect.settle(Settlement::Retry { after: Duration::from_secs(1) }).await.unwrap();
    loop {
        match timeout(PATIENCE, subscriber.next()).await.unwrap() {
            Received::Delivery(delivery) => {
                assert_eq!(delivery.attempt(), attempt + 1);
                return delivery.settle(Settlement::Ack).await.unwrap();
            }
            Received::Suspects => assert!(subscriber.next_suspect().await.is_none()),
        }
    }
}

pub(crate) async fn a_suspect_that_is_handed_back_comes_again<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["x"]).await;
    die_holding(&queue, 1).await;
    let mut subscriber = queue.subscriber(PREFETCH);
    let suspect = receive_suspect(&mut subscriber).await;
    let id = suspect.event().id.clone();
    drop(suspect);
    let again = receive_any(&mut subscriber).await;
    assert_eq!(again.event().id, id);
    again.settle(Settlement::Ack).await.unwrap();
    nothing_is_left(&mut subscriber).await;
}
