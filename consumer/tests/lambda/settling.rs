//! What is done beside the answer, on a queue that is there.

use std::time::Duration;

use serde_json::Value;
use testbed::sqs_event::failures;
use testbed::{Moto, Proxy, SqsQueue, eventually};
use tokio::time::Instant;
use webhook_queue::{Env, Event, Publish, Publisher, QueueConfig, Role, setup};

use crate::{Ran, answer, answer_within, consumer, variables};

/// A queue with these events on it.
async fn queue_of(fifo: bool, bodies: &[&str]) -> SqsQueue<'static> {
    let queue = Moto::shared().await.absent_queue(fifo);
    let mut env = Env::from_pairs(variables(&queue.url()));
    let config = QueueConfig::from_env(&mut env, Role::Forwarder);
    setup(&config).await.unwrap();
    let publisher = Publisher::open(&config).unwrap();
    for body in bodies {
        let event = Event::new("shop", "order", (*body).to_owned());
        publisher.publish(&event, Instant::now() + Duration::from_secs(10)).await.unwrap();
    }
    queue
}

/// The next batch that is not empty.
async fn handed_out(queue: &SqsQueue<'_>) -> Value {
    let some = async || Some(queue.hand_out().await).filter(|event| event["Records"][0].is_object());
    eventually("messages", Duration::from_secs(20), some).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_comes_again_when_the_ladder_says() {
    for fifo in [false, true] {
        let queue = queue_of(fifo, &["fail"]).await;
        let handler = consumer(&queue.url()).batch_handler(Ran::default().router()).unwrap();
        let event = handed_out(&queue).await;
        let id = event["Records"][0]["messageId"].as_str().unwrap();
        let failed = answer(&handler, &event).await;
        assert_eq!(failed, failures(&[id]));
        queue.delete_unreported(&event, &failed).await;
        let start = Instant::now();
        let again = handed_out(&queue).await;
        // After the first step of the ladder, and not after the queue's own half minute.
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert_eq!(again["Records"][0]["messageId"].as_str(), Some(id));
        assert_eq!(again["Records"][0]["attributes"]["ApproximateReceiveCount"], "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_lies_where_every_consumer_puts_it_and_is_not_reported() {
    for fifo in [false, true] {
        let queue = queue_of(fifo, &["die", "live"]).await;
        let handler = consumer(&queue.url()).batch_handler(Ran::default().router()).unwrap();
        let event = handed_out(&queue).await;
        let settled = answer(&handler, &event).await;
        assert_eq!(settled, failures(&[]));
        queue.delete_unreported(&event, &settled).await;
        assert_eq!(queue.count().await, 0);
        let dead = queue.dead().take_all().await;
        assert_eq!((dead.len(), &dead[0]["Body"]), (1, &event["Records"][0]["body"]));
        let attributes = &dead[0]["MessageAttributes"];
        assert_eq!(attributes["dead.reason"]["StringValue"], "handler");
        assert_eq!(attributes["dead.error"]["StringValue"], "no such product");
        assert_eq!(attributes["dead.handler"]["StringValue"], "*/*");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retrying_ends() {
    let queue = queue_of(false, &["fail"]).await;
    let handler = consumer(&queue.url()).retry_max_age(Duration::ZERO).batch_handler(Ran::default().router()).unwrap();
    let event = handed_out(&queue).await;
    assert_eq!(answer(&handler, &event).await, failures(&[]));
    assert_eq!(queue.dead().take_all().await[0]["MessageAttributes"]["dead.reason"]["StringValue"], "retries");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_invocation_cuts_off_has_failed_and_what_it_has_no_time_for_has_not() {
    let queue = queue_of(false, &["hang", "hang"]).await;
    let ran = Ran::default();
    let consumer = consumer(&queue.url()).concurrency(1).retry_max_age(Duration::ZERO);
    let handler = consumer.batch_handler(ran.router()).unwrap();
    let event = handed_out(&queue).await;
    let ids = [0, 1].map(|index| event["Records"][index]["messageId"].as_str().unwrap());
    let answer = answer_within(&handler, &event, Duration::from_secs(8)).await;
    assert_eq!(ran.bodies(), ["hang"]);
    let left = ids.into_iter().find(|id| answer == failures(&[id]));
    queue.delete_unreported(&event, &answer).await;
    let dead = queue.dead().take_all().await;
    assert_eq!(dead.len(), 1, "{answer}");
    let attributes = &dead[0]["MessageAttributes"];
    assert_eq!(attributes["dead.reason"]["StringValue"], "retries");
    assert_eq!(
        attributes["dead.error"]["StringValue"],
        "the handler did not finish before the invocation's time was up"
    );
    // It is visible again at once.
    assert_eq!(queue.counts().await, (1, 0));
    assert_eq!(queue.hand_out().await["Records"][0]["messageId"].as_str(), left);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_group_comes_again_with_its_first_failure() {
    let queue = queue_of(true, &["live", "fail", "next", "last"]).await;
    let handler = consumer(&queue.url()).batch_handler(Ran::default().router()).unwrap();
    let event = handed_out(&queue).await;
    let failed = answer(&handler, &event).await;
    let ids = [1, 2, 3].map(|index| event["Records"][index]["messageId"].as_str().unwrap());
    assert_eq!(failed, failures(&ids));
    queue.delete_unreported(&event, &failed).await;
    let start = Instant::now();
    let again = handed_out(&queue).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!([0, 1, 2].map(|index| again["Records"][index]["messageId"].as_str().unwrap()), ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sqs_does_not_let_settle_costs_no_other_event_its_answer() {
    for fifo in [false, true] {
        let queue = queue_of(fifo, &["live", "die", "fail"]).await;
        let proxy = Proxy::start(Moto::shared().await.addr()).await;
        let handler = consumer(&queue.url_via(proxy.addr())).batch_handler(Ran::default().router()).unwrap();
        let event = handed_out(&queue).await;
        let ids = [1, 2].map(|index| event["Records"][index]["messageId"].as_str().unwrap());
        proxy.stall();
        assert_eq!(answer_within(&handler, &event, Duration::from_secs(2)).await, failures(&ids));
    }
}
