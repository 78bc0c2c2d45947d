//! Event ↔ AMQP message, in CloudEvents binary mode: the body is the webhook's own, everything else is a header.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::broker::{APP_ID, ATTRIBUTE, FRAME_BYTES_AROUND, PERSISTENT, Properties, TRACEPARENT, TRACESTATE};
use crate::event::{Event, format_time, parse_time};
use crate::subscribe::DeadLetter;

/// What our consumers write on events that they put back: everything that starts with this.
const OWN: &str = "webhook:";
const ATTEMPT: &str = "webhook:attempt";
const RECEIVED: &str = "webhook:received";
const DUE: &str = "webhook:due";
const CRASHES: &str = "webhook:crashes";
/// No event waits longer, whatever was asked for: beyond it times cannot be written.
const LONGEST_DELAY: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// What they write on dead letters.
const DEAD: &str = "dead:";
/// The most of a handler's error text that a dead letter keeps: with all other headers it must fit one frame.
const MAX_ERROR_BYTES: usize = 4096;

/// A message as it is published: properties and body.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// Shows neither headers nor body: a debug print must not be the way a secret gets into a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id()).field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Message {
    /// The event's id, or nothing where somebody else published it without one.
    pub(super) fn id(&self) -> &str {
        self.properties.message_id().as_ref().map_or("", ShortString::as_str)
    }

    /// At most so many bytes does the frame with the properties and headers take.
    pub(super) fn header_bytes(&self) -> usize {
        let properties = &self.properties;
        let texts = [
            properties.content_type(),
            properties.content_encoding(),
            properties.correlation_id(),
            properties.reply_to(),
            properties.message_id(),
        ];
        let texts = texts.into_iter().chain([properties.kind(), properties.app_id()]).flatten();
        let texts: usize = texts.map(|text| text.as_str().len() + 1).sum();
        properties.headers().as_ref().map_or(0, table_bytes) + texts + FRAME_BYTES_AROUND
    }
}

fn table_bytes(table: &FieldTable) -> usize {
    table.inner().iter().map(|(name, value)| name.as_str().len() + 1 + value_bytes(value)).sum::<usize>() + 4
}

fn value_bytes(value: &AMQPValue) -> usize {
    // A tag, and a length or a number.
    9 + match value {
        AMQPValue::LongString(text) => text.as_bytes().len(),
        AMQPValue::ShortString(text) => text.as_str().len(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice().len(),
        AMQPValue::FieldTable(table) => table_bytes(table),
        AMQPValue::FieldArray(array) => array.as_slice().iter().map(value_bytes).sum(),
        _ => 0,
    }
}

/// The message of an event that is published for the first time.
pub(super) fn encode(event: &Event) -> Message {
    let of_event = Properties::of(event);
    let mut headers = FieldTable::default();
    for (name, value) in &of_event.headers {
        set(&mut headers, name, value);
    }
    let mut properties = BasicProperties::default()
        .with_headers(headers)
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(of_event.timestamp)
        .with_app_id(APP_ID.into());
    if let Some(value) = of_event.content_type {
        properties = properties.with_content_type(super::short(value));
    }
    if let Some(value) = of_event.content_encoding {
        properties = properties.with_content_encoding(super::short(value));
    }
    if let Some(value) = of_event.message_id {
        properties = properties.with_message_id(super::short(value));
    }
    if let Some(value) = of_event.event_type {
        properties = properties.with_type(super::short(value));
    }
    Message { properties, body: event.body.clone() }
}

/// The event in a message, whoever published it.
pub(super) fn decode(message: &Message) -> Event {
    let properties = &message.properties;
    let mut attributes = BTreeMap::new();
    for (name, value) in headers(properties) {
        if let (Some(name), Some(value)) = (name.as_str().strip_prefix(ATTRIBUTE), text(value)) {
            attributes.insert(name.to_owned(), value);
        }
    }
    for (name, property) in [("id", properties.message_id()), ("type", properties.kind())] {
        if let Some(value) = property {
            attributes.entry(name.to_owned()).or_insert_with(|| value.as_str().to_owned());
        }
    }
    let received = received(properties, attributes.get("time").and_then(|text| parse_time(text)));
    let mut event = Event::from_attributes(attributes, received, message.body.clone());
    for (name, property) in
        [("content-type", properties.content_type()), ("content-encoding", properties.content_encoding())]
    {
        if let (None, Some(value)) = (event.header(name), property) {
            event.http.headers.push((name.to_owned(), value.as_str().to_owned()));
        }
    }
    event.traceparent = header(properties, TRACEPARENT);
    event.tracestate = header(properties, TRACESTATE);
    event
}

/// When the forwarder received it. The property knows only the second; the event's own time is the same moment, told
/// exactly, unless the provider's clock said something else.
fn received(properties: &BasicProperties, time: Option<SystemTime>) -> SystemTime {
    let Some(seconds) = *properties.timestamp() else { return SystemTime::now() };
    let exact = time.filter(|time| time.duration_since(UNIX_EPOCH).is_ok_and(|since| since.as_secs() == seconds));
    exact.unwrap_or_else(|| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or_else(SystemTime::now))
}

/// Which delivery of this event it is, from 1 on.
pub(super) fn attempt(properties: &BasicProperties) -> u32 {
    header(properties, ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// When a consumer first received this event, if one has before.
pub(super) fn first_received(properties: &BasicProperties) -> Option<SystemTime> {
    header(properties, RECEIVED).and_then(|text| parse_time(&text))
}

/// How long the event must still wait, if it was put back with a delay.
pub(super) fn still_to_wait(properties: &BasicProperties) -> Option<Duration> {
    header(properties, DUE).and_then(|text| parse_time(&text))?.duration_since(SystemTime::now()).ok()
}

/// How often somebody had taken this suspect and was gone: as the broker counts it, and before it was handed back.
pub(super) fn crashes(properties: &BasicProperties) -> u32 {
    let number = |name: &&str| header(properties, name)?.parse::<u32>().ok();
    let counted_by_broker = ["x-acquired-count", "x-delivery-count"].iter().find_map(number).unwrap_or(0);
    counted_by_broker.saturating_add(number(&CRASHES).unwrap_or(0))
}

/// The same suspect, as suspect as it was: on a new message the broker counts from the start.
pub(super) fn suspect_again(message: &Message) -> Message {
    let crashes = crashes(&message.properties);
    edit(again(message), |headers| set(headers, CRASHES, &crashes.to_string()))
}

/// The same message as it goes back onto a queue: without what the broker and a sender's special wishes added to it,
/// because those would count, copy or expire the new message by the old one's history.
pub(super) fn again(message: &Message) -> Message {
    let kept = headers(&message.properties)
        .filter(|(name, _)| !name.as_str().starts_with("x-") && !matches!(name.as_str(), "CC" | "BCC"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect::<BTreeMap<_, _>>();
    let old = &message.properties;
    let mut properties = BasicProperties::default().with_headers(FieldTable::from(kept)).with_delivery_mode(PERSISTENT);
    macro_rules! keep {
        ($($get:ident => $with:ident),*) => { $( if let Some(value) = old.$get().clone() { properties = properties.$with(value); } )* };
    }
    keep!(content_type => with_content_type, content_encoding => with_content_encoding, correlation_id => with_correlation_id,
        reply_to => with_reply_to, message_id => with_message_id, timestamp => with_timestamp, kind => with_type,
        app_id => with_app_id, priority => with_priority);
    Message { properties, body: message.body.clone() }
}

/// The same message as the next attempt, due after `delay`.
pub(super) fn retry(message: &Message, attempt: u32, first_received: SystemTime, delay: Duration) -> Message {
    edit(without(again(message), CRASHES), |headers| {
        set(headers, ATTEMPT, &attempt.saturating_add(1).to_string());
        set(headers, RECEIVED, &format_time(first_received));
        set(headers, DUE, &format_time(SystemTime::now() + delay.min(LONGEST_DELAY)));
    })
}

/// The same message as a dead letter.
pub(super) fn dead(message: &Message, attempt: u32, first_received: SystemTime, dead_letter: &DeadLetter) -> Message {
    edit(without(again(message), OWN), |headers| {
        set(headers, "dead:reason", dead_letter.reason.as_str());
        set(headers, "dead:error", cut(&dead_letter.error));
        set(headers, "dead:attempts", &attempt.to_string());
        if let Some(handler) = &dead_letter.handler {
            set(headers, "dead:handler", cut(handler));
        }
        set(headers, "dead:received", &format_time(first_received));
        set(headers, "dead:at", &format_time(SystemTime::now()));
    })
}

/// A dead letter as a fresh event.
pub(super) fn revived(message: &Message) -> Message {
    without(without(again(message), DEAD), OWN)
}

fn without(message: Message, prefix: &str) -> Message {
    let kept = headers(&message.properties)
        .filter(|(name, _)| !name.as_str().starts_with(prefix))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect::<BTreeMap<_, _>>();
    Message { properties: message.properties.with_headers(FieldTable::from(kept)), body: message.body }
}

fn edit(message: Message, change: impl FnOnce(&mut FieldTable)) -> Message {
    let mut headers = message.properties.headers().clone().unwrap_or_default();
    change(&mut headers);
    Message { properties: message.properties.with_headers(headers), body: message.body }
}

fn set(headers: &mut FieldTable, name: &str, value: &str) {
    headers.insert(super::short(name), AMQPValue::LongString(LongString::from(value)));
}

fn headers(properties: &BasicProperties) -> impl Iterator<Item = (&ShortString, &AMQPValue)> {
    properties.headers().iter().flat_map(FieldTable::inner)
}

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    properties.headers().as_ref()?.inner().get(name).and_then(text)
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        AMQPValue::Boolean(value) => Some(value.to_string()),
        AMQPValue::ShortShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortShortUInt(value) => Some(value.to_string()),
        AMQPValue::ShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortUInt(value) => Some(value.to_string()),
        AMQPValue::LongInt(value) => Some(value.to_string()),
        AMQPValue::LongUInt(value) => Some(value.to_string()),
        AMQPValue::LongLongInt(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The first [`MAX_ERROR_BYTES`], cut between two characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ERROR_BYTES)]
}
