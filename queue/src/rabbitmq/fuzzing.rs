//! The fuzzer's door to this wire.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, FieldArray, FieldTable, LongString, ShortString};

use super::wire::{self, Message};
use crate::event::Event;
use crate::subscribe::{DeadLetter, Reason};

/// The event after everything that can become of a message: published, put back twice (once as a suspect), dead-lettered,
/// and replayed.
pub(crate) fn round_trip(event: &Event) -> Event {
    wire::decode(&aged(&wire::encode(event)))
}

fn aged(message: &Message) -> Message {
    let handler = message.id().to_owned();
    let dead_letter = DeadLetter { reason: Reason::Retries, error: "failed".to_owned(), handler: Some(handler) };
    let message = wire::suspect_again(&wire::retry(message, 1, UNIX_EPOCH, Duration::ZERO));
    wire::revived(&wire::dead(&message, wire::attempt(&message.properties), UNIX_EPOCH, &dead_letter))
}

/// Reads everything that a consumer reads from a message, and makes of it everything that a consumer does.
pub(crate) fn read_foreign(headers: &[(String, Bytes)], body: &Bytes) {
    let table: BTreeMap<ShortString, AMQPValue> = headers
        .iter()
        .filter_map(|(name, value)| Some((ShortString::try_new(name.as_str()).ok()?, foreign_value(value))))
        .collect();
    let own = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value);
    let mut properties = BasicProperties::default().with_headers(FieldTable::from(table));
    if let Some(seconds) = own("timestamp").and_then(|value| value.first_chunk()) {
        properties = properties.with_timestamp(u64::from_be_bytes(*seconds));
    }
    if let Some(kind) = own("type") {
        properties = properties.with_type(super::short(&String::from_utf8_lossy(kind)));
    }
    let message = Message { properties, body: body.clone() };
    wire::decode(&message);
    wire::decode(&aged(&message));
    wire::first_received(&message.properties);
    wire::still_to_wait(&message.properties);
    message.header_bytes();
}

/// AMQP has values of many types: the first byte chooses one.
fn foreign_value(bytes: &[u8]) -> AMQPValue {
    let (kind, rest) = bytes.split_first().map_or((b' ', bytes), |(kind, rest)| (*kind, rest));
    let number = |index| i64::from(rest.get(index).copied().unwrap_or_default());
    match kind {
        b'\x01' => AMQPValue::Boolean(number(0) > 0),
        b'\x02' => AMQPValue::LongLongInt(number(0) - (number(1) << 55)),
        b'\x03' => AMQPValue::ByteArray(ByteArray::from(rest)),
        b'\x04' => AMQPValue::FieldArray(FieldArray::from(vec![foreign_value(rest)])),
        b'\x05' => AMQPValue::ShortString(super::short(&String::from_utf8_lossy(rest))),
        b'\x06' => AMQPValue::Void,
        _ => AMQPValue::LongString(LongString::from(bytes)),
    }
}
