//! The fuzzer's door to this wire.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::wire;
use crate::BoxError;
use crate::broker::{ATTRIBUTE, Properties, TRACEPARENT, TRACESTATE};
use crate::event::Event;

/// The event, read from the request that publishes it. The broker makes a message of that without a change.
pub(crate) fn round_trip(event: &Event) -> Result<Event, BoxError> {
    let properties = Properties::of(event);
    let request: Value = serde_json::from_slice(&wire::encode(event, &properties, "webhook"))?;
    let written = &request["properties"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    for (name, value) in [
        ("content_type", properties.content_type),
        ("content_encoding", properties.content_encoding),
        ("message_id", properties.message_id),
        ("type", properties.event_type),
    ] {
        if written[name].as_str() != value {
            return Err(format!("the property {name} was changed").into());
        }
    }
    let headers = written["headers"].as_object().ok_or("there are no headers")?;
    let attributes =
        headers.iter().filter_map(|(name, value)| Some((name.strip_prefix(ATTRIBUTE)?.to_owned(), text(value)?)));
    let received = UNIX_EPOCH + Duration::from_secs(written["timestamp"].as_u64().unwrap_or_default());
    let body = STANDARD.decode(request["payload"].as_str().unwrap_or_default())?;
    let mut event = Event::from_attributes(attributes.collect(), received, Bytes::from(body));
    event.traceparent = headers.get(TRACEPARENT).and_then(text);
    event.tracestate = headers.get(TRACESTATE).and_then(text);
    Ok(event)
}
