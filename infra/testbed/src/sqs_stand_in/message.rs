//! One message, and what of it is shown.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::answer::Refusal;

/// The longest message, and the longest batch, with names, types and values of all attributes.
pub(super) const MOST_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: String,
    attributes: Map<String, Value>,
    pub(super) group: Option<String>,
    pub(super) deduplication: Option<String>,
    pub(super) sequence: u64,
    pub(super) sent: SystemTime,
    pub(super) expires: Instant,
    pub(super) visible: Instant,
    pub(super) received: u64,
    first_received: Option<SystemTime>,
    /// Held by whoever received it, until it is visible again.
    pub(super) held_since: Option<Instant>,
    pub(super) handle: String,
}

/// What of a message is wanted.
pub(super) struct Wanted<'a> {
    system: Vec<&'a str>,
    attributes: Vec<&'a str>,
}

impl Message {
    /// Reads what was sent.
    pub(super) fn read(parameters: &Value, sequence: u64, expires: Instant) -> Result<Message, Refusal> {
        let body = parameters["MessageBody"].as_str().unwrap_or_default();
        if body.is_empty() {
            return Err(Refusal::new("MissingParameter", "The request must contain the parameter MessageBody."));
        }
        let text = |name: &str| parameters[name].as_str().map(str::to_owned);
        Ok(Message {
            id: uuid::Uuid::now_v7().to_string(),
            body: body.chars().map(|c| if is_allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect(),
            attributes: parameters["MessageAttributes"].as_object().cloned().unwrap_or_default(),
            group: text("MessageGroupId"),
            deduplication: text("MessageDeduplicationId"),
            sequence,
            sent: SystemTime::now(),
            expires,
            visible: Instant::now(),
            received: 0,
            first_received: None,
            held_since: None,
            handle: String::new(),
        })
    }

    /// Gives it to somebody, until `until`.
    pub(super) fn hand_out(&mut self, until: Instant) {
        self.received += 1;
        self.first_received.get_or_insert_with(SystemTime::now);
        self.held_since = Some(Instant::now());
        self.visible = until;
        self.handle = format!("{}.{}", self.sequence, uuid::Uuid::now_v7());
    }

    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held_since.is_some() && self.visible > now
    }

    pub(super) fn shown(&self, wanted: &Wanted<'_>) -> Value {
        let mut shown = json!({"MessageId": self.id, "ReceiptHandle": self.handle, "Body": self.body});
        let system = [
            ("SenderId", Some("AIDATEST".to_owned())),
            ("SentTimestamp", Some(millis(self.sent))),
            ("ApproximateReceiveCount", Some(self.received.to_string())),
            ("ApproximateFirstReceiveTimestamp", self.first_received.map(millis)),
            ("MessageGroupId", self.group.clone()),
            ("MessageDeduplicationId", self.deduplication.clone()),
            ("SequenceNumber", self.deduplication.is_some().then(|| format!("{:020}", self.sequence))),
        ];
        let system: Map<String, Value> = system
            .into_iter()
            .filter(|(name, _)| wanted.system.contains(name) || wanted.system.contains(&"All"))
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
            .collect();
        let of_sender: Map<String, Value> =
            self.attributes.clone().into_iter().filter(|(name, _)| wanted.attribute(name)).collect();
        for (name, map) in [("Attributes", system), ("MessageAttributes", of_sender)] {
            if !map.is_empty() {
                shown[name] = map.into();
            }
        }
        shown
    }
}

/// How long a message is that is sent like this.
pub(super) fn bytes(parameters: &Value) -> usize {
    let text = |value: &Value, key: &str| value[key].as_str().map_or(0, str::len);
    let attribute = |(name, value): (&String, &Value)| {
        name.len() + text(value, "DataType") + text(value, "StringValue") + text(value, "BinaryValue")
    };
    let attributes = parameters["MessageAttributes"].as_object();
    text(parameters, "MessageBody") + attributes.map_or(0, |attributes| attributes.iter().map(attribute).sum())
}

impl<'a> Wanted<'a> {
    pub(super) fn read(parameters: &'a Value) -> Wanted<'a> {
        let list = |name: &str| parameters[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        Wanted {
            system: list("AttributeNames").chain(list("MessageSystemAttributeNames")).collect(),
            attributes: list("MessageAttributeNames").collect(),
        }
    }

    fn attribute(&self, name: &str) -> bool {
        self.attributes.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => *wanted == "All" || *wanted == name,
        })
    }
}

/// What a text on SQS may consist of. The rest is replaced without a word.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn millis(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string()
}
