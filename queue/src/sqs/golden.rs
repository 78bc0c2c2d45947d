//! Messages of released shapes, as they lie on somebody's queue. These files are only ever added to: what they hold
//! stays readable.

use serde_json::Value;

use super::wire;
use crate::event::{Event, parse_time};
use crate::golden;

/// Unlike RabbitMQ's, these messages keep the time of receipt apart, and need not be text.
fn event() -> Event {
    let received = parse_time("2026-02-03T03:05:07.5Z").unwrap();
    Event { received, body: (&b"\xff\x00{\"number\":33}"[..]).into(), ..golden::event() }
}

fn is_written_and_read(event: &Event, golden: &str) {
    assert_eq!(&wire::decode(golden).unwrap(), event);
    let written: Value = serde_json::from_str(&wire::encode(event)).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(golden).unwrap());
}

#[test]
fn an_event_is_written_and_read_as_it_always_was() {
    is_written_and_read(&event(), include_str!("../../tests/golden/sqs-event.json"));
}

#[test]
fn an_event_that_a_fallback_took_is_written_and_read_as_it_always_was() {
    let event = Event { rung: 2, ..event() };
    is_written_and_read(&event, include_str!("../../tests/golden/sqs-event-rung.json"));
}
