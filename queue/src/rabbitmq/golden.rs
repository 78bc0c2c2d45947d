//! Messages of released shapes, as they lie on somebody's queue. These files are only ever added to: what they hold
//! stays readable.

use std::time::SystemTime;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use serde_json::{Map, Value, json};

use super::wire::{self, Message};
use crate::broker::Properties;
use crate::event::{Event, parse_time};
use crate::golden::event;

fn to_json(message: &Message) -> Value {
    let properties = &message.properties;
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    let headers: Map<String, Value> = properties
        .headers()
        .iter()
        .flat_map(FieldTable::inner)
        .map(|(name, value)| match value {
            AMQPValue::LongString(value) => {
                (name.as_str().to_owned(), json!(String::from_utf8_lossy(value.as_bytes())))
            }
            other => panic!("{name} is no long string: {other:?}"),
        })
        .collect();
    json!({
        "content_type": text(properties.content_type()),
        "content_encoding": text(properties.content_encoding()),
        "delivery_mode": properties.delivery_mode(),
        "message_id": text(properties.message_id()),
        "type": text(properties.kind()),
        "timestamp": properties.timestamp(),
        "app_id": text(properties.app_id()),
        "headers": headers,
        "body": String::from_utf8_lossy(&message.body),
    })
}

fn from_json(golden: &str) -> Message {
    let golden: Value = serde_json::from_str(golden).unwrap();
    let text = |name: &str| golden[name].as_str().unwrap();
    let mut headers = FieldTable::default();
    for (name, value) in golden["headers"].as_object().unwrap() {
        headers.insert(super::short(name), AMQPValue::LongString(LongString::from(value.as_str().unwrap())));
    }
    let properties = BasicProperties::default()
        .with_content_type(super::short(text("content_type")))
        .with_content_encoding(super::short(text("content_encoding")))
        .with_delivery_mode(2)
        .with_message_id(super::short(text("message_id")))
        .with_type(super::short(text("type")))
        .with_timestamp(golden["timestamp"].as_u64().unwrap())
        .with_app_id(super::short(text("app_id")))
        .with_headers(headers);
    Message { properties, body: text("body").to_owned().into() }
}

fn time(text: &str) -> Option<SystemTime> {
    Some(parse_time(text).unwrap())
}

fn is_written_and_read(event: &Event, golden: &str) {
    assert_eq!(&wire::decode(&from_json(golden)), event);
    assert_eq!(to_json(&wire::encode(event)), serde_json::from_str::<Value>(golden).unwrap());
}

#[test]
fn an_event_is_written_and_read_as_it_always_was() {
    is_written_and_read(&event(), include_str!("../../tests/golden/rabbitmq-event.json"));
}

#[test]
fn an_event_that_a_fallback_took_is_written_and_read_as_it_always_was() {
    let event = Event { rung: 2, ..event() };
    is_written_and_read(&event, include_str!("../../tests/golden/rabbitmq-event-rung.json"));
}

#[test]
fn the_bytes_of_an_events_headers_are_known_before_it_is_encoded() {
    let event = event();
    assert_eq!(Properties::of(&event).frame_bytes(), wire::encode(&event).header_bytes());
}

#[test]
fn a_retry_is_read_as_it_always_was() {
    let message = from_json(include_str!("../../tests/golden/rabbitmq-retry.json"));
    assert_eq!(wire::decode(&message), event());
    assert_eq!(wire::attempt(&message.properties), 3);
    assert_eq!(wire::first_received(&message.properties), time("2026-02-03T03:05:07.5Z"));
    assert_eq!(wire::still_to_wait(&message.properties), None);
}

#[test]
fn a_dead_letter_can_be_replayed_as_it_always_could() {
    let message = from_json(include_str!("../../tests/golden/rabbitmq-dead-letter.json"));
    assert_eq!(wire::decode(&message), event());
    let revived = wire::revived(&message);
    assert_eq!(to_json(&revived), to_json(&wire::encode(&event())));
}
