//! Batches as AWS documents them. The queue itself is nowhere: what is to come again comes again all the same.

use std::time::Duration;

use testbed::sqs_event::{batch, documented, failures};
use webhook_consumer::{Consumer, Env, Router, Unhandled};

use crate::{Ran, answer, answer_within, consumer, variables};

/// The documented queues, where nobody listens.
const STANDARD: &str = "sqs+http://127.0.0.1:1/123456789012/my-queue";
const FIFO: &str = "sqs+http://127.0.0.1:1/123456789012/fifo.fifo";

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_batch_is_handled() {
    let ran = Ran::default();
    let handler = consumer(STANDARD).batch_handler(ran.router()).unwrap();
    assert_eq!(answer(&handler, &documented("standard")).await, failures(&[]));
    assert_eq!(ran.bodies(), ["Test message.", "Test message."]);
    assert_eq!(answer(&handler, &serde_json::json!({"Records": []})).await, failures(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_is_reported_and_nothing_else() {
    let handler = consumer(STANDARD).batch_handler(Ran::default().router()).unwrap();
    let all = [("m1", "", "1"), ("m2", "", "fail"), ("m3", "", "3"), ("m4", "", "panic"), ("m5", "", "5")];
    assert_eq!(answer(&handler, &batch("standard", &all)).await, failures(&["m2", "m4"]));
    // There is no queue for it: it must come again.
    assert_eq!(answer(&handler, &batch("standard", &[("m1", "", "die")])).await, failures(&["m1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_stops_at_its_first_failure() {
    let ran = Ran::default();
    let handler = consumer(FIFO).batch_handler(ran.router()).unwrap();
    let all = [("a1", "a", "a1"), ("b1", "b", "b1"), ("a2", "a", "fail a2"), ("a3", "a", "a3"), ("b2", "b", "b2")];
    assert_eq!(answer(&handler, &batch("fifo", &all)).await, failures(&["a2", "a3"]));
    let bodies = ran.bodies();
    let of = |group: &str| bodies.iter().filter(|body| body.contains(group)).cloned().collect::<Vec<_>>();
    assert_eq!(of("a3"), [""; 0], "it is not begun");
    assert_eq!(of("b"), ["b1", "b2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_reported() {
    let handler = consumer(STANDARD).batch_handler(Ran::default().router()).unwrap();
    for late in ["hang", "block"] {
        let event = batch("standard", &[("m1", "", late), ("m2", "", "2")]);
        assert_eq!(answer_within(&handler, &event, Duration::from_secs(1)).await, failures(&["m1"]), "{late}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_handler_is_kept_unless_the_app_wants_it_gone() {
    let event = documented("standard");
    let kept = consumer(STANDARD).batch_handler(Router::new()).unwrap();
    let ids = ["059f36b4-87a3-44ab-83d2-661975830a7d", "2e1424d4-f796-459a-8184-9c92662be6da"];
    assert_eq!(answer(&kept, &event).await, failures(&ids));
    let gone = consumer(STANDARD).unhandled(Unhandled::Ack).batch_handler(Router::new()).unwrap();
    assert_eq!(answer(&gone, &event).await, failures(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_another_queue_is_reported() {
    let ran = Ran::default();
    let handler = consumer(FIFO).batch_handler(ran.router()).unwrap();
    assert_eq!(answer(&handler, &batch("standard", &[("m1", "", "1")])).await, failures(&["m1"]));
    assert_eq!(ran.bodies(), [""; 0]);
}

#[tokio::test]
async fn only_an_sqs_queue_triggers_a_function() {
    let env = Env::from_pairs([("QUEUE_URL", "amqp://guest:guest@localhost")]);
    let error = Consumer::with_env(env).unwrap().batch_handler(Router::new()).unwrap_err();
    assert_eq!(
        format!("{error:?}"),
        "the consumer is not configured correctly: QUEUE_URL: must be the SQS queue that triggers the function"
    );
    Consumer::with_env(Env::from_pairs(variables(STANDARD))).unwrap().batch_handler(Router::new()).unwrap();
}
