//! The message on the wire, read by an AMQP client that we did not write.

use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testbed::{Broker, Version, Vhost, pika_python, run};
use webhook_queue::{Event, Publish, Publisher, Subscriber, Verified, setup};

use super::{config, next, soon};

async fn publish(vhost: &Vhost, event: &Event) {
    let config = config(&vhost.amqp_url());
    setup(&config).await.unwrap();
    let publisher = Publisher::open(&config).unwrap();
    publisher.publish(event, soon()).await.unwrap();
    publisher.close().await;
}

/// Publishes an event and returns the message as pika sees it.
async fn as_pika_sees(event: &Event) -> Value {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    publish(&vhost, event).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq/read_message.py");
    let output = run(Command::new(pika_python()).args([script, &vhost.amqp_url(), "e-conomic-webhooks"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn event(body: impl Into<bytes::Bytes>) -> Event {
    let mut event = Event::new("e-conomic", "product-updated", body);
    event.received = UNIX_EPOCH + Duration::from_micros(1_770_087_906_123_456);
    event.time = event.received;
    event.verified = Verified::Key;
    event.http.path = "/webhooks/e-conomic/product-updated".into();
    event.http.client = Some("203.0.113.7".into());
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_where_the_contract_says() {
    let mut event = event("");
    event.id = "evt-1".into();
    event.tenant = Some("123456".into());
    event.subject = Some("33".into());
    event.rung = 1;
    event.http.query = "newnumber=33&oldnumber=33".into();
    event.http.headers = vec![
        ("content-type".into(), "application/json".into()),
        ("content-encoding".into(), "identity".into()),
        ("x-twice".into(), "1".into()),
        ("x-twice".into(), "blåbær".into()),
    ];
    event.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    event.tracestate = Some("vendor=1".into());
    let message = as_pika_sees(&event).await;
    assert_eq!(
        message,
        json!({
            "exchange": "e-conomic.direct",
            "routing_key": "webhook",
            "body": "",
            "content_type": "application/json",
            "content_encoding": "identity",
            "delivery_mode": 2,
            "message_id": "evt-1",
            "type": "product-updated",
            "timestamp": 1_770_087_906,
            "app_id": "webhook-forwarder",
            "headers": {
                "cloudEvents:specversion": "1.0",
                "cloudEvents:id": "evt-1",
                "cloudEvents:source": "e-conomic",
                "cloudEvents:type": "product-updated",
                "cloudEvents:time": "2026-02-03T03:05:06.123456Z",
                "cloudEvents:subject": "33",
                "cloudEvents:tenant": "123456",
                "cloudEvents:idorigin": "forwarder",
                "cloudEvents:httpmethod": "POST",
                "cloudEvents:httppath": "/webhooks/e-conomic/product-updated",
                "cloudEvents:httpquery": "newnumber=33&oldnumber=33",
                "cloudEvents:httpclient": "203.0.113.7",
                "cloudEvents:httpheaders": "[[\"content-type\",\"application/json\"],[\"content-encoding\",\"identity\"],\
                                            [\"x-twice\",\"1\"],[\"x-twice\",\"blåbær\"]]",
                "cloudEvents:verified": "key",
                "cloudEvents:rung": "1",
                "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "tracestate": "vendor=1",
            },
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_arrive_byte_for_byte() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let mebibyte: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for body in [every_byte, mebibyte] {
        let message = as_pika_sees(&event(body.clone())).await;
        assert!(STANDARD.decode(message["body"].as_str().unwrap()).unwrap() == body, "{} bytes differ", body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_is_not_touched() {
    let mut event = event("x");
    event.http.query = "a=%2B&b=+&&c".into();
    assert_eq!(as_pika_sees(&event).await["headers"]["cloudEvents:httpquery"], "a=%2B&b=+&&c");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_property_can_hold_is_only_in_the_headers() {
    let long = "x".repeat(256);
    let mut event = event("x");
    event.http.headers = vec![("content-type".into(), long.clone())];
    let message = as_pika_sees(&event).await;
    assert_eq!(message["content_type"], Value::Null);
    assert!(message["headers"]["cloudEvents:httpheaders"].as_str().unwrap().contains(&long));
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_kilobytes_of_headers_fit() {
    let mut event = event("x");
    event.http.headers = (0..40).map(|i| (format!("x-{i}"), "\"".repeat(1000))).collect();
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    publish(&vhost, &event).await;
    let mut subscriber = Subscriber::open(&config(&vhost.amqp_url()), 1).unwrap();
    assert_eq!(next(&mut subscriber).await.event(), &event);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_somebody_else_is_an_event_with_its_body_untouched() {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    let config = config(&vhost.amqp_url());
    setup(&config).await.unwrap();
    let body = json!({
        "properties": {"type": "order", "content_type": "text/plain", "message_id": "m-1", "headers": {"cloudEvents:x": 5}},
        "routing_key": "webhook", "payload": STANDARD.encode(b"\xff\x00"), "payload_encoding": "base64",
    });
    let path = format!("exchanges/{}/e-conomic.direct/publish", vhost.name());
    assert_eq!(vhost.api("POST", &path, Some(body)).await, (200, json!({"routed": true})));
    let mut subscriber = Subscriber::open(&config, 1).unwrap();
    let delivery = next(&mut subscriber).await;
    let event = delivery.event();
    assert_eq!((event.source.as_str(), event.event_type.as_str(), event.id.as_str()), ("unknown", "order", "m-1"));
    assert_eq!((&event.body[..], event.header("content-type")), (&b"\xff\x00"[..], Some("text/plain")));
}
