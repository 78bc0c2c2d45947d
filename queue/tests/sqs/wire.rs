//! What lies on the queue.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::Moto;
use tokio::task::JoinSet;
use webhook_queue::{Event, Publish, PublishError, decode_sqs};

use super::full::full;
use super::{publisher, soon};

fn decoded(message: &Value) -> Event {
    decode_sqs(message["Body"].as_str().unwrap()).unwrap()
}

fn samples() -> Vec<Event> {
    let mut query_only = Event::new("e-conomic", "product-updated", "");
    query_only.http.query = "newnumber=33&oldnumber=33".to_owned();

    let every_byte = Event::new("shop", "bytes", (0..=255).collect::<Vec<u8>>());

    // SQS replaces what XML cannot say.
    let mut odd = full();
    odd.http.query = "a=%2B&b=+&&c\u{ffff}".to_owned();
    let headers = [("x-a", "1"), ("x-b", ""), ("x-a", "2"), ("x-name", "Ærø, \u{0}\u{1b}\u{fffe} – 🦀")];
    odd.http.headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();

    vec![query_only, every_byte, odd]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_there_equals_what_was_published() {
    for fifo in [false, true] {
        let queue = Moto::shared().await.queue(fifo, json!({})).await;
        let publisher = publisher(&queue.url());
        for event in samples() {
            publisher.publish(&event, soon()).await.unwrap();
            let messages = queue.take_all().await;
            assert_eq!(messages.len(), 1);
            assert_eq!(decoded(&messages[0]), event);
            let kind = &messages[0]["MessageAttributes"]["content-type"]["StringValue"];
            assert_eq!(kind, "application/cloudevents+json");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_body_is_carried_and_a_larger_one_is_not() {
    let queue = Moto::shared().await.queue(false, json!({})).await;
    let publisher = publisher(&queue.url());
    let limit = publisher.max_body_bytes();
    let mut largest = Event::new("shop", "order", vec![0xff; limit]);
    let header = |number: usize| (format!("x-header-{number}"), "\"\\\u{1}æ".repeat(25));
    largest.http.headers = (0..80).map(header).collect();
    publisher.publish(&largest, soon()).await.unwrap();
    assert!(decoded(&queue.take_all().await[0]) == largest);

    match publisher.publish(&Event::new("shop", "order", vec![0; limit + 1]), soon()).await {
        Err(PublishError::TooLarge { limit: told }) => assert_eq!(told, limit),
        other => panic!("{other:?}"),
    }
    largest.http.headers = (0..80).map(|number| (format!("x-{number}"), "\u{1}".repeat(1000))).collect();
    let error = publisher.publish(&largest, soon()).await.unwrap_err();
    assert!(matches!(&error, PublishError::Refused(why) if why.contains("SQS carries 1048576")), "{error:?}");
    assert_eq!(queue.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_as_large_as_sqs_takes_is_taken() {
    let queue = Moto::shared().await.queue(false, json!({})).await;
    let publisher = publisher(&queue.url());
    let mut event = Event::new("shop", "order", vec![b'x'; publisher.max_body_bytes()]);
    event.http.query = "q".to_owned();
    publisher.publish(&event, soon()).await.unwrap();
    let sent = queue.take_all().await[0]["Body"].as_str().unwrap().len();
    let attribute = "content-typeStringapplication/cloudevents+json".len();
    event.http.query = "q".repeat(1024 * 1024 - attribute - sent + 1);
    publisher.publish(&event, soon()).await.unwrap();
    assert!(decoded(&queue.take_all().await[0]) == event);
    event.http.query.push('q');
    publisher.publish(&event, soon()).await.unwrap_err();
    assert_eq!(queue.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_knows_the_order_of_a_tenant_and_a_duplicate() {
    let queue = Moto::shared().await.queue(true, json!({})).await;
    let publisher = publisher(&queue.url());
    let mut event = Event::new("e-conomic", "order", "x");
    event.tenant = Some("123456".to_owned());
    publisher.publish(&event, soon()).await.unwrap();
    publisher.publish(&event, soon()).await.unwrap();
    let mut other = event.clone();
    other.source = "shop".to_owned();
    publisher.publish(&other, soon()).await.unwrap();
    let messages = queue.take_all().await;
    assert_eq!(messages.len(), 2, "the same id of the same source is one event, of another source another");
    let attributes = &messages[0]["Attributes"];
    assert_eq!(attributes["MessageGroupId"], "e-conomic:123456");
    assert_eq!(attributes["MessageDeduplicationId"].as_str().unwrap().len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_tasks_may_publish_at_once() {
    let queue = Moto::shared().await.queue(false, json!({})).await;
    let publisher = publisher(&queue.url());
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let publisher = publisher.clone();
        tasks.spawn(async move {
            let event = Event::new("shop", "order", number.to_string());
            publisher.publish(&event, soon() + Duration::from_secs(10)).await.map(|()| event.id)
        });
    }
    let mut confirmed: Vec<String> = tasks.join_all().await.into_iter().collect::<Result<_, _>>().unwrap();
    let mut found: Vec<String> = queue.take_all().await.iter().map(|message| decoded(message).id).collect();
    confirmed.sort();
    found.sort();
    assert_eq!(found, confirmed);
}
