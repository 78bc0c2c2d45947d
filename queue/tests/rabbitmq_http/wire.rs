//! The message on the queue, read by an AMQP client that we did not write, beside the one that came over AMQP.

use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use testbed::{Broker, Vhost, pika_python, run, versions};
use webhook_queue::{Event, Subscriber, Verified, setup};

use super::{config, next, publish};

fn full() -> Event {
    let mut event = Event::new("e-conomic", "product-updated", (0..=255).collect::<Vec<u8>>());
    event.received = UNIX_EPOCH + Duration::from_micros(1_770_087_906_123_456);
    event.time = event.received;
    event.tenant = Some("123456".into());
    event.subject = Some("33".into());
    event.verified = Verified::Key;
    event.rung = 1;
    event.http.path = "/webhooks/e-conomic/product-updated".into();
    event.http.query = "newnumber=33&a=%2B&b=+&&c".into();
    event.http.client = Some("203.0.113.7".into());
    event.http.headers =
        [("content-type", "application/json"), ("content-encoding", "identity"), ("x-a", "1"), ("x-a", "blåbær\u{1}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    event.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    event.tracestate = Some("vendor=1".into());
    event
}

fn as_pika_sees(vhost: &Vhost) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq/read_message.py");
    let output = run(Command::new(pika_python()).args([script, &vhost.amqp_url(), "e-conomic-webhooks"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_as_over_amqp() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        setup(&config(&vhost.amqp_url())).await.unwrap();
        let mut long = full();
        long.http.headers[0].1 = "x".repeat(256);
        for event in [full(), long] {
            publish(&vhost.publish_url(), &event).await.unwrap();
            let through_management = as_pika_sees(&vhost);
            publish(&vhost.amqp_url(), &event).await.unwrap();
            assert_eq!(through_management, as_pika_sees(&vhost));
            assert_eq!(through_management["message_id"], event.id);
            assert_eq!(through_management["delivery_mode"], 2);
        }
    }
}

/// The names need escapes in the address and must not have them on the broker.
#[tokio::test(flavor = "multi_thread")]
async fn names_with_any_characters_work() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost_named("/ein Häuschen%2F?#").await;
        let config = config(&vhost.publish_url());
        setup(&config).await.unwrap();
        let event = full();
        publish(&vhost.publish_url(), &event).await.unwrap();
        let mut subscriber = Subscriber::open(&super::config(&vhost.amqp_url()), 1).unwrap();
        assert_eq!(next(&mut subscriber).await.event(), &event);
    }
}
