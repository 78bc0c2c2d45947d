//! Event → the body of a publish request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::broker::{APP_ID, MAX_HEADER_BYTES, PERSISTENT, Properties};
use crate::event::Event;

/// What every broker reads. RabbitMQ's `management.http.max_body_size` is 20 MB, but it is compared after whole pieces of
/// this size: 4.0 reads two of them, and 3.10, with half the limit, one.
const MAX_REQUEST_BYTES: usize = 8_000_000;
/// What a byte of text takes at most in JSON: `\u0000`.
const JSON_BYTES_PER_BYTE: usize = 6;
/// What the request needs beside headers and body: names, quotes, the routing key.
const BYTES_AROUND: usize = 4096;
/// The largest body that fits into a request as base64, whatever the headers are.
pub(super) const MAX_BODY_BYTES: usize =
    (MAX_REQUEST_BYTES - JSON_BYTES_PER_BYTE * MAX_HEADER_BYTES - BYTES_AROUND) / 4 * 3;

/// The request that publishes an event with these properties.
pub(super) fn encode(event: &Event, properties: &Properties<'_>, routing_key: &str) -> Bytes {
    let head = json!({"properties": to_json(properties), "routing_key": routing_key, "payload_encoding": "base64"});
    let mut request = head.to_string();
    request.reserve_exact(event.body.len().div_ceil(3) * 4 + BYTES_AROUND);
    request.truncate(request.len() - 1);
    request.push_str(",\"payload\":\"");
    STANDARD.encode_string(&event.body, &mut request);
    request.push_str("\"}");
    request.into()
}

fn to_json(properties: &Properties<'_>) -> Value {
    let headers: Map<String, Value> =
        properties.headers.iter().map(|(name, value)| (name.to_string(), value.as_ref().into())).collect();
    let mut json = json!({
        "delivery_mode": PERSISTENT,
        "timestamp": properties.timestamp,
        "app_id": APP_ID,
        "headers": headers,
    });
    for (name, value) in [
        ("content_type", properties.content_type),
        ("content_encoding", properties.content_encoding),
        ("message_id", properties.message_id),
        ("type", properties.event_type),
    ] {
        if let Some(value) = value {
            json[name] = value.into();
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    fn decode(request: &[u8]) -> (Value, Vec<u8>) {
        let mut request: Value = serde_json::from_slice(request).unwrap();
        let payload = request.as_object_mut().unwrap().remove("payload").unwrap();
        (request, STANDARD.decode(payload.as_str().unwrap()).unwrap())
    }

    #[test]
    fn an_event_is_written_as_it_is_over_amqp() {
        let mut golden: Value = serde_json::from_str(include_str!("../../tests/golden/rabbitmq-event.json")).unwrap();
        let body = golden.as_object_mut().unwrap().remove("body").unwrap();
        let event = golden::event();
        let (request, payload) = decode(&encode(&event, &Properties::of(&event), "webhook"));
        assert_eq!(request, json!({"properties": golden, "routing_key": "webhook", "payload_encoding": "base64"}));
        assert_eq!(payload, body.as_str().unwrap().as_bytes());
    }

    #[test]
    fn the_largest_request_is_one_that_the_broker_reads() {
        let mut event = Event::new("shop", "order", vec![0; MAX_BODY_BYTES]);
        event.tracestate = Some("\u{1}".repeat(MAX_HEADER_BYTES));
        let request = encode(&event, &Properties::of(&event), &"\u{1}".repeat(255));
        assert!(request.len() <= MAX_REQUEST_BYTES, "{}", request.len());
    }
}
