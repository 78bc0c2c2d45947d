//! A message as it is sent: an event for the first time, and the copies that a consumer makes of what it received.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use tokio::time::Instant;

use super::client::{Client, explain};
use super::take::{Taken, whole_seconds};
use super::{MAX_MESSAGE_BYTES, wire};
use crate::event::{Event, format_time, parse_time};
use crate::publish::PublishError;
use crate::subscribe::DeadLetter;

/// What our consumers write on events that they put back: everything that starts with this. SQS allows no colon.
const OWN: &str = "webhook.";
const ATTEMPT: &str = "webhook.attempt";
const RECEIVED: &str = "webhook.received";
const DUE: &str = "webhook.due";
/// What they write on dead letters.
const DEAD: &str = "dead.";
/// The most of a handler's error text that a dead letter keeps.
const MAX_ERROR_BYTES: usize = 4096;
/// How long one try to put an event elsewhere may take.
const PUT_TIMEOUT: Duration = Duration::from_secs(5);
/// SQS's limit on the attributes of a message.
const MAX_ATTRIBUTES: usize = 10;
/// The longest delay of a message that SQS knows.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);
/// The type of every message attribute that we write.
const TEXT: &str = "String";

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    body: String,
    attributes: HashMap<String, MessageAttributeValue>,
    /// Only a standard queue has messages without one.
    group: Option<String>,
    /// By what a FIFO queue knows a duplicate. No other queue wants it.
    deduplication_id: String,
    delay: Duration,
}

impl Outgoing {
    /// An event that is published for the first time.
    pub(super) fn first(event: &Event) -> Outgoing {
        let mut message = Outgoing {
            body: wire::encode(event),
            attributes: HashMap::new(),
            group: None,
            deduplication_id: wire::deduplication_id(event),
            delay: Duration::ZERO,
        };
        message.set(wire::CONTENT_TYPE.0, wire::CONTENT_TYPE.1);
        message
    }

    /// A text for nobody but us.
    pub(super) fn note(body: String) -> Outgoing {
        let (attributes, deduplication_id) = (HashMap::new(), String::new());
        Outgoing { body, attributes, group: None, deduplication_id, delay: Duration::ZERO }
    }

    /// The same message once more. `purpose` tells this copy from others: a FIFO queue would drop it as a duplicate of the
    /// original, and must drop it as one of itself.
    fn copy(taken: &Taken, purpose: &str) -> Outgoing {
        Outgoing {
            body: taken.body.clone(),
            attributes: taken.attributes.clone(),
            group: taken.group.clone(),
            deduplication_id: wire::hex_sha256(&[purpose, "\0", &taken.id]),
            delay: Duration::ZERO,
        }
    }

    /// The message as it is, not before it is due.
    pub(super) fn again(taken: &Taken) -> Outgoing {
        let message = Outgoing::copy(taken, "again");
        let delay = due(taken).and_then(|due| due.duration_since(SystemTime::now()).ok()).unwrap_or_default();
        Outgoing { delay: delay.min(MAX_DELAY), ..message }
    }

    /// The message as the next attempt.
    pub(super) fn retry(taken: &Taken, attempt: u32, first_received: SystemTime, delay: Duration) -> Outgoing {
        let mut message = Outgoing { delay: delay.min(MAX_DELAY), ..Outgoing::copy(taken, "retry") };
        message.set(ATTEMPT, &attempt.saturating_add(1).to_string());
        message.set(RECEIVED, &format_time(first_received));
        message.set(DUE, &format_time(SystemTime::now() + delay));
        message
    }

    /// The message as a dead letter. Should SQS have no room for all of that, the least important is left out.
    pub(super) fn dead(taken: &Taken, attempts: u32, first_received: SystemTime, letter: &DeadLetter) -> Outgoing {
        let mut message = Outgoing::copy(taken, "dead").without(OWN).without(DEAD);
        let (received, at) = (format_time(first_received), format_time(SystemTime::now()));
        let attempts = attempts.to_string();
        let marks = [
            ("dead.reason", letter.reason.as_str()),
            ("dead.attempts", &attempts),
            ("dead.received", &received),
            ("dead.at", &at),
            ("dead.handler", letter.handler.as_deref().unwrap_or_default()),
            ("dead.error", &letter.error),
        ];
        for (name, value) in marks {
            message.set_as_far_as_it_fits(name, value);
        }
        message
    }

    /// A dead letter as a fresh event.
    pub(super) fn revived(taken: &Taken) -> Outgoing {
        Outgoing::copy(taken, "replay").without(DEAD).without(OWN)
    }

    /// What SQS counts: the body and the attributes beside it.
    pub(super) fn bytes(&self) -> usize {
        let attribute = |(name, value): (&String, &MessageAttributeValue)| {
            let value_bytes = match (value.string_value(), value.binary_value()) {
                (Some(text), _) => text.len(),
                (None, Some(blob)) => blob.as_ref().len(),
                (None, None) => 0,
            };
            name.len() + value.data_type().len() + value_bytes
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    /// Whether SQS takes it.
    pub(super) fn fits(&self) -> bool {
        self.bytes() <= MAX_MESSAGE_BYTES && self.attributes.len() <= MAX_ATTRIBUTES
    }

    /// As [`send`](Outgoing::send), for one try of a consumer.
    pub(super) async fn put(&self, to: &Client) -> Result<(), PublishError> {
        self.send(to, Instant::now() + PUT_TIMEOUT).await
    }

    /// `Ok` is SQS's word that it has stored the message.
    pub(super) async fn send(&self, to: &Client, deadline: Instant) -> Result<(), PublishError> {
        let request = to.sdk.send_message().queue_url(to.address.url()).message_body(&self.body);
        let request = request
            .set_message_attributes(Some(self.attributes.clone()))
            .set_message_group_id(self.group.clone())
            .set_message_deduplication_id(self.deduplication(to))
            .set_delay_seconds(self.delay(to));
        match request.customize().config_override(Client::until(deadline)).send().await {
            Ok(answer) if answer.message_id().is_some_and(|id| !id.is_empty()) => Ok(()),
            // It may be there: somebody on the way may have answered in SQS's place.
            Ok(_) => Err(unmentioned()),
            Err(error) => Err(explain(error)),
        }
    }

    /// The same, as one of several in a request.
    pub(super) fn entry(&self, id: usize, to: &Client) -> Option<SendMessageBatchRequestEntry> {
        let entry = SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(&self.body);
        let entry =
            entry.set_message_attributes(Some(self.attributes.clone())).set_message_group_id(self.group.clone());
        entry.set_message_deduplication_id(self.deduplication(to)).set_delay_seconds(self.delay(to)).build().ok()
    }

    /// Only a FIFO queue takes it.
    fn deduplication(&self, to: &Client) -> Option<String> {
        to.address.is_fifo().then(|| self.deduplication_id.clone())
    }

    /// In seconds. A FIFO queue takes none.
    fn delay(&self, to: &Client) -> Option<i32> {
        (!to.address.is_fifo() && !self.delay.is_zero()).then(|| whole_seconds(self.delay))
    }

    /// In the order of these, which the queue keeps if it is a FIFO queue.
    pub(super) fn in_group(self, group: String) -> Outgoing {
        Outgoing { group: Some(group), ..self }
    }

    fn set(&mut self, name: &str, value: &str) {
        let attribute = MessageAttributeValue::builder().data_type(TEXT).string_value(value).build();
        self.attributes.extend(attribute.map(|attribute| (name.to_owned(), attribute)));
    }

    fn set_as_far_as_it_fits(&mut self, name: &str, value: &str) {
        let room = MAX_MESSAGE_BYTES.saturating_sub(self.bytes() + name.len() + TEXT.len());
        let value = allowed(value);
        let value = &value[..value.floor_char_boundary(room.min(MAX_ERROR_BYTES))];
        if !value.is_empty() && self.attributes.len() < MAX_ATTRIBUTES {
            self.set(name, value);
        }
    }

    fn without(mut self, prefix: &str) -> Outgoing {
        self.attributes.retain(|name, _| !name.starts_with(prefix));
        self
    }
}

/// What an answer means that says nothing of a message.
pub(super) fn unmentioned() -> PublishError {
    PublishError::Unreachable("SQS says nothing of this message".into())
}

/// SQS refuses what XML cannot hold.
fn allowed(text: &str) -> String {
    let is_allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if is_allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Which delivery of this event it is, from 1 on, as far as the message itself knows.
pub(super) fn attempt(taken: &Taken) -> u32 {
    text(taken, ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// When a consumer first received this event, if one has put it back since.
pub(super) fn first_received(taken: &Taken) -> Option<SystemTime> {
    text(taken, RECEIVED).and_then(parse_time)
}

/// Until when the event must wait, if it was put back with a delay.
pub(super) fn due(taken: &Taken) -> Option<SystemTime> {
    text(taken, DUE).and_then(parse_time)
}

fn text<'a>(taken: &'a Taken, name: &str) -> Option<&'a str> {
    taken.attributes.get(name)?.string_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscribe::Reason;

    fn taken(body: String) -> Taken {
        Taken {
            id: "1".to_owned(),
            event: wire::decode(&body),
            body,
            attributes: HashMap::new(),
            handle: String::new(),
            receives: 1,
            first_received: SystemTime::now(),
            sent: SystemTime::now(),
            group: None,
        }
    }

    fn letter(error: String) -> DeadLetter {
        DeadLetter { reason: Reason::Handler, error, handler: None }
    }

    fn dead(taken: &Taken, error: &str) -> Outgoing {
        Outgoing::dead(taken, 1, SystemTime::now(), &letter(error.to_owned()))
    }

    #[test]
    fn a_dead_letter_of_the_largest_message_is_taken_all_the_same() {
        for left in [0, 1, 20, 100, 200, 5000] {
            let message = dead(&taken("x".repeat(MAX_MESSAGE_BYTES - left)), &"æ".repeat(5000));
            assert!(message.fits(), "{left} bytes left, {} bytes", message.bytes());
        }
        assert!(!Outgoing::retry(&taken("x".repeat(MAX_MESSAGE_BYTES)), 1, SystemTime::now(), Duration::ZERO).fits());
    }

    #[test]
    fn an_error_that_sqs_would_refuse_is_told_as_far_as_it_can_be() {
        let told = dead(&taken("x".to_owned()), "a\u{0}\u{1b}[31m\u{ffff}b").attributes.remove("dead.error").unwrap();
        assert_eq!(told.string_value().unwrap(), "a\u{fffd}\u{fffd}[31m\u{fffd}b");
        assert!(!dead(&taken("x".to_owned()), "").attributes.contains_key("dead.error"), "SQS takes no empty values");
    }

    #[test]
    fn a_fifo_queue_tells_the_copies_of_a_message_apart() {
        let taken = taken("x".to_owned());
        let ids = [Outgoing::again(&taken), Outgoing::revived(&taken), dead(&taken, "x"), dead(&taken, "y")]
            .map(|message| message.deduplication_id);
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        assert_eq!(ids[2], ids[3], "the same dead letter once more");
    }
}
