//! The promises of `pause`, `resume`, `replay`, `state`, `close` and of dropping a subscriber.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};
use webhook_queue::{DeadLetter, Reason, Settlement, State, Subscribe, Subscriber};

use crate::queue::{
    PATIENCE, Queue, at_last, body, nothing_comes, nothing_is_left, publish, publish_at_last, receive, receive_any,
};

pub(crate) async fn pause_hands_back_what_was_not_returned<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["1", "2", "3"]).await;
    let mut subscriber = queue.subscriber(10);
    let _first = receive(&mut subscriber).await;
    subscriber.pause().await;
    let mut other = queue.subscriber(10);
    let mut rest = [body(&receive_and_ack(&mut other).await), body(&receive_and_ack(&mut other).await)];
    rest.sort();
    assert_eq!(rest, ["2", "3"]);
}

/// Settles it and gives back what it was.
async fn receive_and_ack(subscriber: &mut Subscriber) -> webhook_queue::Delivery {
    receive_any(subscriber).await
}

pub(crate) async fn while_paused_next_waits_and_what_was_returned_stays_valid<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["1"]).await;
    let mut subscriber = queue.subscriber(10);
    let delivery = receive(&mut subscriber).await;
    subscriber.pause().await;
    publish(&publisher, &["2"]).await;
    nothing_comes(&mut subscriber).await;
    delivery.settle(Settlement::Ack).await.unwrap();
    subscriber.resume().await;
    let delivery = receive_any(&mut subscriber).await;
    assert_eq!(body(&delivery), "2");
    delivery.settle(Settlement::Ack).await.unwrap();
    nothing_is_left(&mut subscriber).await;
}

pub(crate) async fn state_says_what_the_subscriber_does<Q: Queue>() {
    let queue = Q::absent().await;
    let mut subscriber = queue.subscriber(10);
    let mut state = subscriber.state();
    let mut becomes = async |wanted| {
        timeout(PATIENCE, state.wait_for(|now| *now == wanted)).await.expect("the state does not follow").unwrap();
    };
    becomes(State::Connecting).await;
    queue.set_up().await;
    becomes(State::Receiving).await;
    subscriber.pause().await;
    becomes(State::Paused).await;
    subscriber.resume().await;
    becomes(State::Receiving).await;
    queue.take_away().await;
    becomes(State::Connecting).await;
    queue.bring_back().await;
    becomes(State::Receiving).await;
}

/// Says which events it were, the one that died first first.
async fn bury(subscriber: &mut Subscriber, count: usize) -> Vec<String> {
    let mut dead = Vec::new();
    for _ in 0..count {
        let letter = DeadLetter { reason: Reason::NoHandler, error: String::new(), handler: None };
        let delivery = receive(subscriber).await;
        dead.push(delivery.event().id.clone());
        delivery.settle(Settlement::DeadLetter(letter)).await.unwrap();
    }
    dead
}

pub(crate) async fn replay_moves_the_oldest_back_as_fresh_events<Q: Queue>() {
    let queue = Q::fresh().await;
    let events = publish(&queue.publisher(), &["1", "2", "3"]).await;
    let mut subscriber = queue.subscriber(1);
    receive(&mut subscriber).await.settle(Settlement::Retry { after: Duration::ZERO }).await.unwrap();
    // Not every queue brings the first, which was retried, last.
    let mut dead = bury(&mut subscriber, 3).await;
    let mut dead_first: Vec<String> = {
        let moved = subscriber.replay(2).await.unwrap();
        assert_eq!(moved, 2);
        let mut ids = Vec::new();
        for _ in 0..2 {
            let delivery = receive(&mut subscriber).await;
            let original = events.iter().find(|event| event.id == delivery.event().id).unwrap();
            assert_eq!((delivery.event(), delivery.attempt(), delivery.crashes()), (original, 1, 0));
            ids.push(delivery.event().id.clone());
            delivery.settle(Settlement::Ack).await.unwrap();
        }
        ids
    };
    nothing_is_left(&mut subscriber).await;
    let left = queue.take_dead_letters().await;
    assert_eq!(left.iter().map(|dead| &dead.id).collect::<Vec<_>>(), [&dead.remove(2)]);
    dead_first.sort();
    dead.sort();
    assert_eq!(dead_first, dead);
}

pub(crate) async fn replay_of_nothing_moves_nothing<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    let mut subscriber = queue.subscriber(1);
    publish_at_last(&publisher, &crate::queue::event("x")).await;
    bury(&mut subscriber, 1).await;
    assert_eq!(subscriber.replay(0).await.unwrap(), 0);
    assert_eq!(subscriber.replay(usize::MAX).await.unwrap(), 1);
    assert_eq!(subscriber.replay(usize::MAX).await.unwrap(), 0);
    receive(&mut subscriber).await.settle(Settlement::Ack).await.unwrap();
    nothing_is_left(&mut subscriber).await;
}

async fn bury_many<Q: Queue>(queue: &Q) -> Subscriber {
    let publisher = queue.publisher();
    let mut publishing = JoinSet::new();
    for number in 0..Q::MANY {
        let publisher = publisher.clone();
        publishing.spawn(async move { publish(&publisher, &[&number.to_string()]).await });
    }
    publishing.join_all().await;
    let mut subscriber = queue.subscriber(100);
    let mut burying = JoinSet::new();
    for _ in 0..Q::MANY {
        let letter = DeadLetter { reason: Reason::NoHandler, error: String::new(), handler: None };
        burying.spawn(receive(&mut subscriber).await.settle(Settlement::DeadLetter(letter)));
    }
    for buried in burying.join_all().await {
        buried.unwrap();
    }
    subscriber
}

pub(crate) async fn what_dies_during_a_replay_stays_dead_while_the_subscriber_goes_on<Q: Queue>() {
    let queue = Q::fresh().await;
    let mut subscriber = bury_many(&queue).await;
    let replay = tokio::spawn(subscriber.replay(usize::MAX));
    bury(&mut subscriber, Q::MANY).await;
    assert_eq!(timeout_at(at_last(), replay).await.unwrap().unwrap().unwrap(), Q::MANY);
    nothing_comes(&mut subscriber).await;
}

pub(crate) async fn closing_ends_a_replay_and_nothing_is_lost<Q: Queue>() {
    let queue = Q::fresh().await;
    let mut subscriber = bury_many(&queue).await;
    let replay = tokio::spawn(subscriber.replay(usize::MAX));
    drop(receive(&mut subscriber).await);
    timeout(PATIENCE, subscriber.close()).await.unwrap();
    let moved = match timeout_at(at_last(), replay).await.unwrap().unwrap() {
        Ok(moved) => moved,
        Err(error) => error.moved,
    };
    assert!(moved > 0);
    let mut other = queue.subscriber(1);
    drop(receive_any(&mut other).await);
    assert_eq!(timeout_at(at_last(), other.replay(usize::MAX)).await.unwrap().unwrap(), Q::MANY - moved);
}

pub(crate) async fn close_lets_what_is_still_held_come_again<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["1", "2", "3"]).await;
    let mut subscriber = queue.subscriber(2);
    let _held = receive(&mut subscriber).await;
    timeout(PATIENCE, subscriber.close()).await.unwrap();
    all_come_again(&queue).await;
}

pub(crate) async fn a_dropped_subscriber_gives_everything_back<Q: Queue>() {
    let queue = Q::fresh().await;
    publish(&queue.publisher(), &["1", "2", "3"]).await;
    let mut subscriber = queue.subscriber(2);
    let _held = receive(&mut subscriber).await;
    drop(subscriber);
    all_come_again(&queue).await;
}

async fn all_come_again<Q: Queue>(queue: &Q) {
    let mut other = queue.subscriber(10);
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let delivery = receive_any(&mut other).await;
        bodies.push(body(&delivery));
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, ["1", "2", "3"]);
}

pub(crate) async fn after_close_every_settlement_has_reached_the_queue<Q: Queue>() {
    let queue = Q::fresh().await;
    let bodies: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    publish(&queue.publisher(), &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut subscriber = queue.subscriber(50);
    let mut settling = JoinSet::new();
    for _ in 0..50 {
        settling.spawn(receive(&mut subscriber).await.settle(Settlement::Ack));
    }
    for settled in settling.join_all().await {
        settled.unwrap();
    }
    timeout(PATIENCE, subscriber.close()).await.unwrap();
    nothing_is_left(&mut queue.subscriber(10)).await;
}
