//! What a message that came before is worth to somebody else.

use std::time::Duration;

use serde_json::json;
use testbed::{Fate, Moto, SqsStandIn, eventually, in_time};
use tokio::time::timeout_at;
use webhook_queue::{DeadLetter, Reason, Settlement, Subscribe};

use super::{body, publish, receive, soon, subscriber};

#[tokio::test(flavor = "multi_thread")]
async fn another_consumer_knows_the_attempt_and_when_it_was_first_received() {
    let queue = Moto::shared().await.queue(false, json!({})).await;
    publish(&queue.url(), &["x"]).await;
    let mut one = subscriber(&queue.url());
    let delivery = receive(&mut one).await;
    let first = delivery.first_received();
    in_time("the settlement", delivery.settle(Settlement::Retry { after: Duration::from_secs(1) })).await.unwrap();
    in_time("the close", one.close()).await;

    let mut other = subscriber(&queue.url());
    let again = receive(&mut other).await;
    assert_eq!(again.attempt(), 2);
    // In microseconds on the wire.
    assert!(again.first_received() <= first && again.first_received() > first - Duration::from_millis(1));
    drop(again);
    in_time("the close", other.close()).await;
    // Handed back, it is neither another attempt nor suspect.
    assert_eq!(receive(&mut subscriber(&queue.url())).await.attempt(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_forwarder_wrote_is_an_event_and_keeps_what_it_came_with() {
    let queue = Moto::shared().await.queue(false, json!({})).await;
    queue.send("just text").await;
    let mut subscriber = subscriber(&queue.url());
    for attempt in 1..=2 {
        let delivery = receive(&mut subscriber).await;
        let event = delivery.event();
        assert_eq!((event.source.as_str(), event.event_type.as_str()), ("unknown", "webhook"));
        assert_eq!((body(&delivery).as_str(), delivery.attempt()), ("just text", attempt));
        in_time("the settlement", delivery.settle(Settlement::Retry { after: Duration::ZERO })).await.unwrap();
    }
    let letter = DeadLetter { reason: Reason::NoHandler, error: "no handler matches".to_owned(), handler: None };
    in_time("the settlement", receive(&mut subscriber).await.settle(Settlement::DeadLetter(letter))).await.unwrap();
    let dead = eventually("a dead letter", Duration::from_secs(10), async || queue.dead().take_all().await.pop()).await;
    assert_eq!(dead["Body"], "just text");
    let attributes = &dead["MessageAttributes"];
    assert_eq!(attributes["dead.reason"]["StringValue"], "no-handler");
    assert_eq!(attributes["dead.attempts"]["StringValue"], "3");
}

/// A copy of an event is longer than the event, and whoever may receive may not be allowed to send.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_copy_can_be_sent_a_retry_is_the_event_itself() {
    for (status, code) in [(400, "InvalidParameterValue"), (403, "AccessDeniedException")] {
        let server = SqsStandIn::start().await;
        let queue = server.queue(false, json!({})).await;
        publish(&queue.url(), &["x"]).await;
        server.doom("shop", Fate::Fails(status, code));
        let mut subscriber = subscriber(&queue.url());
        let delivery = receive(&mut subscriber).await;
        let first = delivery.first_received();
        let settled = delivery.settle(Settlement::Retry { after: Duration::from_secs(1) });
        timeout_at(soon(), settled).await.expect("it waits for a copy").unwrap();
        let again = receive(&mut subscriber).await;
        assert_eq!((again.attempt(), again.first_received()), (2, first));
        in_time("the settlement", again.settle(Settlement::Ack)).await.unwrap();
        assert_eq!(queue.count().await, 0);
    }
}
