//! The promises of `Publish`.

use std::collections::HashSet;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use webhook_queue::{Event, Publish, PublishError, Readiness, Settlement, Subscriber};

use crate::child::{Process, Task};
use crate::queue::{
    PATIENCE, Queue, Refusing, at_last, body, event, nobody_knows, nothing_is_left, publish, publish_at_last, receive,
    soon,
};

/// How much later than its deadline an answer may be on a busy machine.
const SLACK: Duration = Duration::from_millis(400);

pub(crate) async fn ok_means_that_it_is_received_even_if_the_process_is_killed_the_next_moment<Q: Queue>() {
    let queue = Q::fresh().await;
    let (publishing, mut confirmed) = Process::start(&queue, Task::Publish).says(25).await;
    confirmed.extend(publishing.kill());

    let mut missing: HashSet<String> = confirmed.into_iter().collect();
    let mut subscriber = queue.subscriber(50);
    while !missing.is_empty() {
        let delivery = receive(&mut subscriber).await;
        missing.remove(&delivery.event().id);
        delivery.settle(Settlement::Ack).await.unwrap();
    }
}

pub(crate) async fn too_large_means_that_it_is_not_on_the_queue<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    let limit = publisher.max_body_bytes();
    let large = Event::new("shop", "order", vec![0; limit + 1]);
    match publisher.publish(&large, soon()).await {
        Err(PublishError::TooLarge { limit: told }) => assert_eq!(told, limit),
        other => panic!("{other:?}"),
    }
    nothing_is_left(&mut queue.subscriber(1)).await;
}

pub(crate) async fn the_largest_body_is_carried<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    let largest = Event::new("shop", "order", vec![b'x'; publisher.max_body_bytes()]);
    publisher.publish(&largest, soon()).await.unwrap();
    let delivery = receive(&mut queue.subscriber(1)).await;
    assert!(delivery.event() == &largest);
}

pub(crate) async fn after_timed_out_or_unreachable_the_same_id_may_be_sent_again<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["before"]).await;
    queue.stall().await;
    let again = event("again");
    let error = publisher.publish(&again, Instant::now() + Duration::from_millis(300)).await.unwrap_err();
    assert!(nobody_knows(&error), "{error:?}");
    queue.bring_back().await;
    publish_at_last(&publisher, &again).await;
    publish_at_last(&publisher, &event("last")).await;

    let mut subscriber = queue.subscriber(10);
    let (mut copies, mut last) = (0, false);
    // Not every queue keeps the order.
    while copies == 0 || !last {
        let delivery = receive(&mut subscriber).await;
        match body(&delivery).as_str() {
            "again" => {
                assert_eq!(delivery.event(), &again);
                copies += 1;
            }
            "last" => last = true,
            _ => {}
        }
        delivery.settle(Settlement::Ack).await.unwrap();
    }
}

pub(crate) async fn it_returns_by_the_deadline_while_the_queue_is_away<Q: Queue>() {
    let queue = Q::fresh().await;
    queue.publisher().close().await;
    let publisher = queue.publisher();
    publish(&publisher, &["before"]).await;
    queue.take_away().await;
    returns_by_the_deadline(&publisher).await;
}

pub(crate) async fn it_returns_by_the_deadline_while_the_queue_is_stalled<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["before"]).await;
    queue.stall().await;
    returns_by_the_deadline(&publisher).await;
    queue.bring_back().await;
}

async fn returns_by_the_deadline(publisher: &webhook_queue::Publisher) {
    for wait in [50, 500, 1_000] {
        let deadline = Instant::now() + Duration::from_millis(wait);
        let error = publisher.publish(&event("x"), deadline).await.unwrap_err();
        assert!(Instant::now() <= deadline + SLACK, "{:?} late", Instant::now() - deadline);
        assert!(nobody_knows(&error), "{error:?}");
    }
}

pub(crate) async fn it_returns_at_once_when_the_deadline_has_passed<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["before"]).await;
    let start = Instant::now();
    let outcome = publisher.publish(&event("late"), start).await;
    assert!(start.elapsed() <= SLACK);
    assert!(matches!(&outcome, Err(error) if nobody_knows(error)), "{outcome:?}");
}

pub(crate) async fn two_equal_publishes_are_two_events<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    let twice = event("twice");
    publisher.publish(&twice, soon()).await.unwrap();
    publisher.publish(&twice, soon()).await.unwrap();
    let mut subscriber = queue.subscriber(10);
    for _ in 0..2 {
        let delivery = receive(&mut subscriber).await;
        assert_eq!(delivery.event(), &twice);
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    nothing_is_left(&mut subscriber).await;
}

pub(crate) async fn any_number_of_tasks_may_publish_at_once_and_one_failure_fails_no_other<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    let too_large = vec![0; publisher.max_body_bytes() + 1];
    let mut tasks = JoinSet::new();
    for number in 0..300 {
        let publisher = publisher.clone();
        let event = match number {
            150 => Event::new("shop", "order", too_large.clone()),
            _ => event(&number.to_string()),
        };
        tasks.spawn(async move { (number, publisher.publish(&event, at_last()).await) });
    }
    drop(too_large);
    for (number, outcome) in tasks.join_all().await {
        assert_eq!(outcome.is_ok(), number != 150, "{number}: {outcome:?}");
    }
    let received = drain(&mut queue.subscriber(50), 299).await;
    assert_eq!(received.len(), 299);
}

/// The bodies of exactly so many events.
async fn drain(subscriber: &mut Subscriber, count: usize) -> HashSet<String> {
    let mut bodies = HashSet::new();
    for _ in 0..count {
        let delivery = receive(subscriber).await;
        bodies.insert(body(&delivery));
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    nothing_is_left(subscriber).await;
    bodies
}

pub(crate) async fn a_dropped_future_affects_no_other_call<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["first"]).await;
    let mut tasks = JoinSet::new();
    for number in 0..200_u64 {
        let publisher = publisher.clone();
        tasks.spawn(async move {
            let event = event(&number.to_string());
            let publishing = publisher.publish(&event, at_last());
            if number % 2 == 0 {
                // Dropped at one moment or the other; whatever had been reached by then is right.
                let _ = timeout(Duration::from_micros(number * 20), publishing).await;
            } else {
                publishing.await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    publish(&publisher, &["last"]).await;

    let mut seen = Vec::new();
    let mut subscriber = queue.subscriber(50);
    let give_up = at_last();
    let kept: HashSet<String> = (1..200).step_by(2).map(|number| number.to_string()).collect();
    while !kept.iter().all(|number| seen.contains(number)) {
        assert!(Instant::now() < give_up);
        let delivery = receive(&mut subscriber).await;
        seen.push(body(&delivery));
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    let distinct: HashSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "an event came twice");
}

pub(crate) async fn the_same_publisher_works_again_as_soon_as_the_queue_does<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["before"]).await;
    for round in 0..2 {
        queue.take_away().await;
        let deadline = Instant::now() + Duration::from_millis(500);
        publisher.publish(&event("meanwhile"), deadline).await.unwrap_err();
        queue.bring_back().await;
        let start = Instant::now();
        publish_at_last(&publisher, &event(&format!("after {round}"))).await;
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

pub(crate) async fn readiness_follows_the_last_word_of_the_queue<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["before"]).await;
    assert_eq!(publisher.readiness(), Readiness::Ready);
    queue.take_away().await;
    publisher.publish(&event("x"), Instant::now() + Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(publisher.readiness(), Readiness::NotReady(_)));
    queue.bring_back().await;
    publish_at_last(&publisher, &event("after")).await;
    assert_eq!(publisher.readiness(), Readiness::Ready);
}

pub(crate) async fn close_awaits_what_is_in_flight_and_fails_what_is_new<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["first"]).await;
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let publisher = publisher.clone();
        tasks.spawn(async move { publisher.publish(&event(&number.to_string()), soon()).await.is_ok() });
    }
    tokio::task::yield_now().await;
    timeout(PATIENCE, publisher.close()).await.unwrap();
    publisher.publish(&event("new"), soon()).await.unwrap_err();
    let confirmed = tasks.join_all().await.into_iter().filter(|ok| *ok).count();
    let bodies = drain(&mut queue.subscriber(50), confirmed + 1).await;
    assert!(!bodies.contains("new"));
}

pub(crate) async fn refused_means_that_it_is_not_on_the_queue<Q: Refusing>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    publish(&publisher, &["before"]).await;
    queue.refuse().await;
    let refused = Event::new("shop", "refused", "x");
    let error = publisher.publish(&refused, soon()).await.unwrap_err();
    assert!(matches!(error, PublishError::Refused(_)), "{error:?}");
    drain(&mut queue.subscriber(10), 1).await;
}

pub(crate) async fn what_is_refused_fails_alone<Q: Refusing>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    queue.refuse().await;
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let publisher = publisher.clone();
        let event_type = if number % 10 == 0 { "refused" } else { "order" };
        let event = Event::new("shop", event_type, number.to_string());
        tasks.spawn(async move { (number, publisher.publish(&event, soon()).await) });
    }
    for (number, outcome) in tasks.join_all().await {
        match outcome {
            Ok(()) => assert_ne!(number % 10, 0),
            Err(PublishError::Refused(_)) => assert_eq!(number % 10, 0),
            Err(other) => panic!("{other:?}"),
        }
    }
    drain(&mut queue.subscriber(50), 180).await;
}
