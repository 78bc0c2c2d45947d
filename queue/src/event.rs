//! The event: a CloudEvent, plus the HTTP request it came from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use uuid::Uuid;

/// The source of a message that somebody else put on the queue without saying where it came from.
const UNKNOWN_SOURCE: &str = "unknown";
/// The type of an event whose request names none.
const DEFAULT_TYPE: &str = "webhook";

/// One webhook: what a handler receives.
///
/// The body is the exact bytes of the request. Everything else is a CloudEvents 1.0 attribute: [`Event::attributes`]
/// and [`Event::from_attributes`] are the one place where their names on the wire are spelled.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// 1 to 128 printable ASCII characters, unique together with `source`.
    pub id: String,
    /// Who made the id, and so which duplicates it can reveal.
    pub id_origin: IdOrigin,
    /// The source's name, as configured in the forwarder.
    pub source: String,
    /// What happened, in the provider's words.
    pub event_type: String,
    /// When it happened by the provider's own clock where the request says, else when it was received.
    pub time: SystemTime,
    /// What it happened to, where the scheme knows.
    pub subject: Option<String>,
    /// Whose event it is, where one source serves many customers.
    pub tenant: Option<String>,
    /// The strongest proof of origin that passed.
    pub verified: Verified,
    /// When the forwarder had received the whole request. Survives retries, so that an age can be told.
    pub received: SystemTime,
    /// Which queue took it from the forwarder: 0 is the first (`QUEUE_URL`), n the n-th of `QUEUE_FALLBACK_URLS`. It stays
    /// what it was when the event is moved, retried, dead-lettered or replayed.
    pub rung: u32,
    /// The HTTP request.
    pub http: Http,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// W3C trace state of the request.
    pub tracestate: Option<String>,
    /// The request's body, byte for byte.
    pub body: Bytes,
}

/// The HTTP facts of a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// The method, in capitals.
    pub method: String,
    /// The path, without a host's stage or `/api` prefix.
    pub path: String,
    /// The query as received, not decoded, without the leading `?`.
    pub query: String,
    /// The address of whoever called, by the host's word.
    pub client: Option<String>,
    /// Names in lower case and values, in order, duplicates kept.
    pub headers: Vec<(String, String)>,
}

/// Who made an event's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdOrigin {
    /// The provider's delivery id: the provider's own retries carry the same.
    Provider,
    /// A UUIDv7 of the forwarder: only copies that we made carry the same.
    Forwarder,
}

/// The proof of origin that an event's request carried, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verified {
    /// None was asked for.
    None,
    /// The caller's address was on the source's list.
    Address,
    /// A shared key was presented.
    Key,
    /// A proof that does not cover the body.
    Token,
    /// A signature over the body.
    Signature,
}

impl IdOrigin {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            IdOrigin::Provider => "provider",
            IdOrigin::Forwarder => "forwarder",
        }
    }
}

impl Verified {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Verified::None => "none",
            Verified::Address => "address",
            Verified::Key => "key",
            Verified::Token => "token",
            Verified::Signature => "signature",
        }
    }

    fn from_wire(text: &str) -> Verified {
        [Verified::Address, Verified::Key, Verified::Token, Verified::Signature]
            .into_iter()
            .find(|verified| verified.as_str() == text)
            .unwrap_or(Verified::None)
    }
}

impl Event {
    /// An event with a fresh id, received now by `POST`. Set the other fields as needed.
    pub fn new(source: impl Into<String>, event_type: impl Into<String>, body: impl Into<Bytes>) -> Event {
        let now = now();
        Event {
            id: Uuid::now_v7().to_string(),
            id_origin: IdOrigin::Forwarder,
            source: source.into(),
            event_type: event_type.into(),
            time: now,
            subject: None,
            tenant: None,
            verified: Verified::None,
            received: now,
            rung: 0,
            http: Http { method: "POST".to_owned(), ..Http::default() },
            traceparent: None,
            tracestate: None,
            body: body.into(),
        }
    }

    /// The first value of a request header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.http.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// How long ago the forwarder received it.
    pub fn age(&self) -> Duration {
        SystemTime::now().duration_since(self.received).unwrap_or_default()
    }

    /// The CloudEvents attributes by their names on the wire, absent ones left out.
    pub fn attributes(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let mut attributes: Vec<(&'static str, Cow<'_, str>)> = vec![
            ("specversion", "1.0".into()),
            ("id", self.id.as_str().into()),
            ("source", self.source.as_str().into()),
            ("type", self.event_type.as_str().into()),
            ("time", format_time(self.time).into()),
            ("idorigin", self.id_origin.as_str().into()),
            ("verified", self.verified.as_str().into()),
            ("httpmethod", self.http.method.as_str().into()),
            ("httppath", self.http.path.as_str().into()),
            ("httpquery", self.http.query.as_str().into()),
            ("httpheaders", serde_json::to_string(&self.http.headers).unwrap_or_default().into()),
        ];
        let optional = [("subject", &self.subject), ("tenant", &self.tenant), ("httpclient", &self.http.client)];
        attributes.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?.into()))));
        if self.rung > 0 {
            attributes.push(("rung", self.rung.to_string().into()));
        }
        attributes
    }

    /// Reads an event from its attributes. Never fails: a message without any is still an event, with an id of its
    /// own and its body untouched.
    pub fn from_attributes(mut attributes: BTreeMap<String, String>, received: SystemTime, body: Bytes) -> Event {
        let mut take = |name: &str| attributes.remove(name).filter(|value| !value.is_empty());
        Event {
            id: take("id").unwrap_or_else(|| Uuid::now_v7().to_string()),
            id_origin: match take("idorigin").as_deref() {
                Some("provider") => IdOrigin::Provider,
                _ => IdOrigin::Forwarder,
            },
            source: take("source").unwrap_or_else(|| UNKNOWN_SOURCE.to_owned()),
            event_type: take("type").unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
            time: take("time").and_then(|text| parse_time(&text)).unwrap_or(received),
            subject: take("subject"),
            tenant: take("tenant"),
            verified: take("verified").map_or(Verified::None, |text| Verified::from_wire(&text)),
            received,
            rung: take("rung").and_then(|text| text.parse().ok()).unwrap_or(0),
            http: Http {
                method: take("httpmethod").unwrap_or_default(),
                path: take("httppath").unwrap_or_default(),
                query: take("httpquery").unwrap_or_default(),
                client: take("httpclient"),
                headers: take("httpheaders").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            },
            traceparent: None,
            tracestate: None,
            body,
        }
    }
}

/// Leaves out the body, path, query and headers: a debug print must not be the way a secret gets into a log.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("event_type", &self.event_type)
            .field("tenant", &self.tenant)
            .field("verified", &self.verified)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Now, to the microsecond: what the wire can carry, so that an event read back equals the one published.
fn now() -> SystemTime {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A point in time as RFC 3339, UTC, to the microsecond.
pub fn format_time(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(timestamp) => format!("{timestamp:.6}"),
        Err(_) => "1970-01-01T00:00:00.000000Z".to_owned(),
    }
}

/// Reads RFC 3339 with any offset.
pub fn parse_time(text: &str) -> Option<SystemTime> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    let micros = u64::try_from(timestamp.as_microsecond()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Event {
        let mut event = Event::new("e-conomic", "product-updated", &b"newnumber=33&oldnumber=33"[..]);
        event.time = parse_time("2026-02-03T04:05:06.789+01:00").unwrap();
        event.received = event.time;
        event.tenant = Some("123456".to_owned());
        event.verified = Verified::Key;
        event.http.path = "/webhooks/e-conomic/product-updated".to_owned();
        event.http.query = "a=%2B&b=+&&c".to_owned();
        event.http.headers = vec![("x-a".into(), "1".into()), ("x-a".into(), "æ".into())];
        event
    }

    fn to_map(event: &Event) -> BTreeMap<String, String> {
        event.attributes().into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
    }

    #[test]
    fn attributes_carry_the_whole_event() {
        let event = sample();
        assert_eq!(Event::from_attributes(to_map(&event), event.received, event.body.clone()), event);
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(to_map(&sample())["time"], "2026-02-03T03:05:06.789000Z");
    }

    #[test]
    fn attribute_names_follow_the_cloudevents_rule() {
        let mut event = sample();
        event.subject = Some("33".into());
        event.http.client = Some("127.0.0.1".into());
        event.rung = 1;
        for (name, _) in event.attributes() {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
        }
    }

    #[test]
    fn what_is_no_rung_is_the_first() {
        let mut attributes = to_map(&sample());
        assert!(!attributes.contains_key("rung"), "it is not written");
        for (text, rung) in [("2", 2), ("0", 0), ("-1", 0), ("4294967296", 0), ("first", 0), ("", 0)] {
            attributes.insert("rung".to_owned(), text.to_owned());
            let event = Event::from_attributes(attributes.clone(), UNIX_EPOCH, Bytes::new());
            assert_eq!(event.rung, rung, "{text}");
        }
    }

    #[test]
    fn a_message_without_attributes_is_still_an_event() {
        let event = Event::from_attributes(BTreeMap::new(), UNIX_EPOCH, Bytes::from_static(b"\xff"));
        assert_eq!(
            (event.source.as_str(), event.event_type.as_str(), &event.body[..]),
            ("unknown", "webhook", &b"\xff"[..])
        );
        assert!(!event.id.is_empty());
    }

    #[test]
    fn a_debug_print_shows_no_content() {
        let mut event = sample();
        event.body = Bytes::from_static(b"a secret");
        event.http.query = "key=a+secret".into();
        assert!(!format!("{event:?}").contains("secret"));
    }
}
