//! Event ↔ SQS message, in CloudEvents structured mode: one JSON object with everything in it, the body in base64,
//! because SQS carries text and replaces what XML cannot hold.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::event::{Event, format_time, parse_time};

pub(super) const CONTENT_TYPE: (&str, &str) = ("content-type", "application/cloudevents+json");

const SPEC_VERSION: &str = "specversion";
const TIME: &str = "time";
const RECEIVED: &str = "received";
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const DATA_CONTENT_TYPE: &str = "datacontenttype";
const DATA: &str = "data_base64";

/// What SQS calls the longest name of a message group.
const MAX_GROUP_BYTES: usize = 128;

/// Why a message is no event. It says nothing of the message's content.
#[derive(Debug, thiserror::Error)]
#[error("the message is not a CloudEvent in structured mode: {0}")]
pub struct Undecodable(&'static str);

/// The message of an event.
pub(super) fn encode(event: &Event) -> String {
    let mut object: Map<String, Value> = Map::new();
    let mut set = |name: &str, value: &str| drop(object.insert(name.to_owned(), value.into()));
    for (name, value) in event.attributes() {
        set(name, &value);
    }
    set(RECEIVED, &format_time(event.received));
    let optional = [
        (TRACEPARENT, event.traceparent.as_deref()),
        (TRACESTATE, event.tracestate.as_deref()),
        (DATA_CONTENT_TYPE, event.header("content-type")),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            set(name, value);
        }
    }
    set(DATA, &STANDARD.encode(&event.body));
    // serde_json has escaped the control characters. These two are the others that XML, and so SQS, does not know.
    Value::Object(object).to_string().replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// The event in the body of an SQS message: what `webhook-forwarder` published.
///
/// # Errors
/// If the text is not such an event.
pub fn decode(text: &str) -> Result<Event, Undecodable> {
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| Undecodable("it is no JSON object"))?;
    let mut attributes = BTreeMap::new();
    for (name, value) in object {
        match value {
            Value::String(value) => _ = attributes.insert(name, value),
            Value::Null => {}
            _ if name == "data" => return Err(Undecodable("its data is not in base64")),
            other => _ = attributes.insert(name, other.to_string()),
        }
    }
    if attributes.get(SPEC_VERSION).is_none_or(|version| !version.starts_with("1.")) {
        return Err(Undecodable("its specversion is not 1.0"));
    }
    if attributes.contains_key("data") {
        return Err(Undecodable("its data is not in base64"));
    }
    let data = attributes.remove(DATA).unwrap_or_default();
    let body = STANDARD.decode(data).map_err(|_| Undecodable("its data_base64 is not base64"))?;
    let time = |name| attributes.get(name).and_then(|text: &String| parse_time(text));
    let received = time(RECEIVED).or_else(|| time(TIME)).unwrap_or_else(std::time::SystemTime::now);
    let (traceparent, tracestate) = (attributes.remove(TRACEPARENT), attributes.remove(TRACESTATE));
    let mut event = Event::from_attributes(attributes, received, Bytes::from(body));
    (event.traceparent, event.tracestate) = (traceparent, tracestate);
    Ok(event)
}

/// What a FIFO queue keeps in order: the events of one tenant of one source.
pub(super) fn group(event: &Event) -> String {
    let group = match &event.tenant {
        Some(tenant) => format!("{}:{tenant}", event.source),
        None => event.source.clone(),
    };
    let allowed = group.bytes().all(|byte| byte.is_ascii_graphic());
    if allowed && group.len() <= MAX_GROUP_BYTES { group } else { hex_sha256(&[&group]) }
}

/// By what a FIFO queue knows a duplicate, for five minutes.
pub(super) fn deduplication_id(event: &Event) -> String {
    hex_sha256(&[&event.source, "\0", &event.id])
}

pub(super) fn hex_sha256(parts: &[&str]) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    parts.iter().for_each(|part| digest.update(part.as_bytes()));
    digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqs_would_replace_is_escaped_and_read_back() {
        let mut event = Event::new("shop", "order", vec![0xff, 0xfe, 0]);
        event.http.query = "\u{0}\u{1}\u{b}\u{1f}\u{7f}\u{fffe}\u{ffff}\u{10ffff}".to_owned();
        event.http.headers = vec![("x".to_owned(), "\u{ffff}\u{1b}\"\\".to_owned())];
        let message = encode(&event);
        let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        assert!(message.chars().all(allowed), "{message:?}");
        assert_eq!(decode(&message).unwrap(), event);
    }

    #[test]
    fn what_is_no_event_says_why() {
        let why = |text: &str| decode(text).unwrap_err().to_string();
        assert!(why("{").ends_with("it is no JSON object"));
        assert!(why("[]").ends_with("it is no JSON object"));
        assert!(why("{}").ends_with("its specversion is not 1.0"));
        assert!(why(r#"{"specversion":"1.0","data":{"a":1}}"#).ends_with("its data is not in base64"));
        assert!(why(r#"{"specversion":"1.0","data":"a"}"#).ends_with("its data is not in base64"));
        assert!(why(r#"{"specversion":"1.0","data_base64":"?"}"#).ends_with("its data_base64 is not base64"));
    }

    #[test]
    fn a_group_is_readable_where_sqs_allows_it() {
        let mut event = Event::new("e-conomic", "order", "");
        assert_eq!(group(&event), "e-conomic");
        event.tenant = Some("123456".to_owned());
        assert_eq!(group(&event), "e-conomic:123456");
        event.tenant = Some("blåbær".to_owned());
        assert_eq!(group(&event).len(), 64);
        event.tenant = Some("x".repeat(200));
        assert_eq!(group(&event).len(), 64);
    }

    #[test]
    fn the_deduplication_id_is_the_documented_one() {
        let mut event = Event::new("shop", "order", "");
        event.id = "evt-1".to_owned();
        // printf 'shop\0evt-1' | sha256sum
        assert_eq!(deduplication_id(&event), "03ed686216a1b9152e704e2c0ea24e8daa3d57d36715eedd79149252414ed600");
    }
}
