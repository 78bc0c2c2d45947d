//! The message of an event: what stands in its properties and headers, whichever protocol writes them.

use std::borrow::Cow;
use std::time::UNIX_EPOCH;

use crate::event::Event;
use crate::publish::PublishError;
use crate::topology::Topology;

/// What the name of a CloudEvents attribute begins with as a header.
pub(crate) const ATTRIBUTE: &str = "cloudEvents:";
pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";
pub(crate) const APP_ID: &str = "webhook-forwarder";
/// The delivery mode of a message that outlives a restart of the broker.
pub(crate) const PERSISTENT: u8 = 2;
/// The most that an event's headers may take. Over AMQP they travel in one frame (of 128 KiB, unless the broker was told
/// otherwise), and what consumers and the broker itself add to them later must fit beside them.
pub(crate) const MAX_HEADER_BYTES: usize = 110 * 1024;
/// What the frame with the headers needs beside texts: its own head, size, flags, and the properties that are numbers.
pub(crate) const FRAME_BYTES_AROUND: usize = 64;
/// What a header takes beside its name and text: the length of each, and a tag.
#[cfg(any(feature = "rabbitmq_http", test))]
const BYTES_AROUND_A_HEADER: usize = 10;
/// What a property or a routing key, a short string, can hold.
const MAX_SHORT_BYTES: usize = 255;

/// The properties of an event's message that are not the same for all of them.
pub(crate) struct Properties<'a> {
    pub(crate) content_type: Option<&'a str>,
    pub(crate) content_encoding: Option<&'a str>,
    pub(crate) message_id: Option<&'a str>,
    pub(crate) event_type: Option<&'a str>,
    /// When it was received, in seconds since 1970.
    pub(crate) timestamp: u64,
    pub(crate) headers: Vec<(Cow<'static, str>, Cow<'a, str>)>,
}

impl<'a> Properties<'a> {
    /// A property is a short string. What does not fit is left out: the same value is in the headers.
    pub(crate) fn of(event: &'a Event) -> Properties<'a> {
        let short = |text: &'a str| Some(text).filter(|text| text.len() <= MAX_SHORT_BYTES);
        let attributes =
            event.attributes().into_iter().map(|(name, value)| (format!("{ATTRIBUTE}{name}").into(), value));
        let trace = [(TRACEPARENT, &event.traceparent), (TRACESTATE, &event.tracestate)];
        let trace = trace.into_iter().filter_map(|(name, value)| Some((name.into(), value.as_deref()?.into())));
        Properties {
            content_type: event.header("content-type").and_then(short),
            content_encoding: event.header("content-encoding").and_then(short),
            message_id: short(&event.id),
            event_type: short(&event.event_type),
            timestamp: event.received.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            headers: attributes.chain(trace).collect(),
        }
    }

    /// At most so many bytes does the AMQP frame with the properties and headers take.
    #[cfg(any(feature = "rabbitmq_http", test))]
    pub(crate) fn frame_bytes(&self) -> usize {
        let texts = [self.content_type, self.content_encoding, self.message_id, self.event_type, Some(APP_ID)];
        let texts: usize = texts.into_iter().flatten().map(|text| text.len() + 1).sum();
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + BYTES_AROUND_A_HEADER);
        headers.sum::<usize>() + 4 + texts + FRAME_BYTES_AROUND
    }
}

/// The routing key of one event.
pub(crate) fn routing_key(topology: &Topology, event: &Event) -> Result<String, PublishError> {
    let key = topology.routing_key_of(&event.source, &event.event_type);
    if key.len() > MAX_SHORT_BYTES {
        return Err(PublishError::Unroutable(format!("a routing key of {} bytes does not exist", key.len())));
    }
    Ok(key)
}
