//! One queue: what is on it, and who may have what of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::answer::Refusal;
use super::message::{MOST_BYTES, Message, bytes};

/// For so long a FIFO queue takes a message with a known deduplication id for the same message.
const DEDUPLICATION: Duration = Duration::from_secs(5 * 60);
/// The longest that a message is held without being received again.
const LONGEST_HOLD: Duration = Duration::from_secs(12 * 60 * 60);
const MOST_IN_FLIGHT: usize = 120_000;

#[derive(Debug)]
pub(super) struct Queue {
    attributes: Map<String, Value>,
    fifo: bool,
    messages: BTreeMap<u64, Message>,
    /// Every message, by the time when it can be received.
    agenda: BTreeSet<(Instant, u64)>,
    /// What was sent lately: when, and the answer.
    known: HashMap<String, (Instant, Value)>,
}

/// A queue of dead letters, and after how many receives a message goes there.
pub(super) struct Redrive {
    pub(super) target: String,
    pub(super) most_receives: u64,
}

impl Queue {
    pub(super) fn new(name: &str, given: &Map<String, Value>) -> Queue {
        let mut attributes = Map::new();
        let defaults = [
            ("VisibilityTimeout", "30"),
            ("MessageRetentionPeriod", "345600"),
            ("MaximumMessageSize", "1048576"),
            ("DelaySeconds", "0"),
            ("ReceiveMessageWaitTimeSeconds", "0"),
        ];
        for (name, value) in defaults {
            attributes.insert(name.to_owned(), value.into());
        }
        let arn = format!("arn:aws:sqs:us-east-1:{}:{name}", crate::sqs::ACCOUNT);
        attributes.insert("QueueArn".to_owned(), arn.into());
        attributes.extend(given.clone());
        let fifo = attributes.get("FifoQueue").is_some_and(|fifo| fifo == "true");
        let (messages, agenda, known) = (BTreeMap::new(), BTreeSet::new(), HashMap::new());
        Queue { attributes, fifo, messages, agenda, known }
    }

    /// Whether these would be its attributes as well.
    pub(super) fn has(&self, given: &Map<String, Value>) -> bool {
        given.iter().all(|(name, value)| self.attributes.get(name) == Some(value))
    }

    pub(super) fn shown(&self) -> Value {
        let now = Instant::now();
        let (mut held, mut delayed, mut visible) = (0, 0, 0);
        for message in self.messages.values().filter(|message| message.expires > now) {
            *match (message.visible > now, message.held_since) {
                (false, _) => &mut visible,
                (true, Some(_)) => &mut held,
                (true, None) => &mut delayed,
            } += 1;
        }
        let mut shown = self.attributes.clone();
        for (name, count) in [("", visible), ("NotVisible", held), ("Delayed", delayed)] {
            shown.insert(format!("ApproximateNumberOfMessages{name}"), count.to_string().into());
        }
        shown.into()
    }

    pub(super) fn set(&mut self, given: &Map<String, Value>) {
        self.attributes.extend(given.clone());
    }

    pub(super) fn redrive(&self) -> Option<Redrive> {
        let policy: Value = serde_json::from_str(self.attributes.get("RedrivePolicy")?.as_str()?).ok()?;
        let target = policy["deadLetterTargetArn"].as_str()?.rsplit(':').next()?.to_owned();
        let most = &policy["maxReceiveCount"];
        let most_receives = most.as_u64().or_else(|| most.as_str()?.parse().ok())?;
        Some(Redrive { target, most_receives })
    }

    fn seconds(&self, name: &str) -> Duration {
        let seconds = self.attributes.get(name).and_then(|value| value.as_str()?.parse().ok());
        Duration::from_secs(seconds.unwrap_or_default())
    }

    pub(super) fn wait(&self) -> Duration {
        self.seconds("ReceiveMessageWaitTimeSeconds")
    }

    /// The longest message that it takes, and the longest batch.
    pub(super) fn most_bytes(&self) -> usize {
        let most = self.attributes["MaximumMessageSize"].as_str().and_then(|most| most.parse().ok());
        most.unwrap_or(MOST_BYTES)
    }

    pub(super) fn send(&mut self, parameters: &Value, sequence: u64) -> Result<Value, Refusal> {
        let now = Instant::now();
        let mut message = Message::read(parameters, sequence, now + self.seconds("MessageRetentionPeriod"))?;
        let most = self.most_bytes();
        if bytes(parameters) > most {
            let reason =
                format!("One or more parameters are invalid. Reason: Message must be shorter than {most} bytes.");
            return Err(Refusal::invalid(reason));
        }
        let mut answer = json!({"MessageId": message.id, "MD5OfMessageBody": ""});
        if self.fifo {
            let Some(deduplication) = message.deduplication.clone() else {
                return Err(Refusal::invalid(
                    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
                ));
            };
            if message.group.is_none() {
                return Err(Refusal::new("MissingParameter", "The request must contain the parameter MessageGroupId."));
            }
            self.known.retain(|_, (at, _)| at.elapsed() < DEDUPLICATION);
            answer["SequenceNumber"] = format!("{sequence:020}").into();
            if let Some((_, answer)) = self.known.get(&deduplication) {
                return Ok(answer.clone());
            }
            self.known.insert(deduplication, (now, answer.clone()));
        }
        let delay =
            parameters["DelaySeconds"].as_u64().map_or_else(|| self.seconds("DelaySeconds"), Duration::from_secs);
        message.visible = now + delay;
        self.put(message);
        Ok(answer)
    }

    /// Takes a message as it is.
    pub(super) fn put(&mut self, message: Message) {
        self.agenda.insert((message.visible, message.sequence));
        self.messages.insert(message.sequence, message);
    }

    /// Messages that may be received now, in their order.
    pub(super) fn ready(&self, most: usize) -> Vec<u64> {
        let now = Instant::now();
        if self.agenda.range((now, u64::MAX)..).nth(MOST_IN_FLIGHT).is_some() {
            return Vec::new();
        }
        if !self.fifo {
            let due = self.agenda.range(..=(now, u64::MAX));
            return due.map(|(_, sequence)| *sequence).take(most).collect();
        }
        let mut waiting = HashSet::new();
        let mut ready = Vec::new();
        for message in self.messages.values() {
            // What somebody holds, or is delayed, holds back what its group has behind it.
            if message.visible > now {
                waiting.insert(&message.group);
            } else if !waiting.contains(&message.group) {
                ready.push(message.sequence);
                if ready.len() == most {
                    break;
                }
            }
        }
        ready
    }

    /// When the next message can be received that cannot be received now.
    pub(super) fn next(&self) -> Option<Instant> {
        self.agenda.range((Instant::now(), u64::MAX)..).next().map(|(at, _)| *at)
    }

    pub(super) fn hand_out(&mut self, sequence: u64, hold: Option<Duration>) -> Option<&Message> {
        let until = Instant::now() + hold.unwrap_or_else(|| self.seconds("VisibilityTimeout"));
        let message = self.messages.get_mut(&sequence)?;
        self.agenda.remove(&(message.visible, sequence));
        message.hand_out(until);
        self.agenda.insert((message.visible, sequence));
        Some(message)
    }

    pub(super) fn receives(&self, sequence: u64) -> u64 {
        self.messages.get(&sequence).map_or(0, |message| message.received)
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Message> {
        let message = self.messages.remove(&sequence)?;
        self.agenda.remove(&(message.visible, sequence));
        Some(message)
    }

    /// What has been here the longest expires first.
    pub(super) fn forget_expired(&mut self) {
        let now = Instant::now();
        while let Some((&sequence, _)) = self.messages.first_key_value().filter(|(_, message)| message.expires <= now) {
            self.remove(sequence);
        }
    }

    /// Makes everything visible that somebody holds, as if nobody had extended it.
    pub(super) fn lapse(&mut self) {
        let now = Instant::now();
        for message in self.messages.values_mut().filter(|message| message.is_held(now)) {
            self.agenda.remove(&(message.visible, message.sequence));
            message.visible = now;
            self.agenda.insert((message.visible, message.sequence));
        }
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.agenda.clear();
    }

    /// A handle that is no longer the newest deletes nothing, and that is a success. A FIFO queue says so once the message
    /// can be received again.
    pub(super) fn delete(&mut self, parameters: &Value) -> Result<(), Refusal> {
        let (sequence, handle) = read_handle(parameters)?;
        let Some(message) = self.messages.get(&sequence) else { return Ok(()) };
        if self.fifo && !(message.handle == handle && message.is_held(Instant::now())) {
            return Err(Refusal::invalid("Reason: The receipt handle has expired."));
        }
        if message.handle == handle {
            self.remove(sequence);
        }
        Ok(())
    }

    pub(super) fn change_visibility(&mut self, parameters: &Value) -> Result<(), Refusal> {
        let (sequence, handle) = read_handle(parameters)?;
        let hold = parameters["VisibilityTimeout"].as_u64().filter(|seconds| *seconds <= LONGEST_HOLD.as_secs());
        let Some(hold) = hold.map(Duration::from_secs) else {
            return Err(Refusal::invalid("VisibilityTimeout is not between 0 and 43200"));
        };
        let now = Instant::now();
        let message = self.messages.get_mut(&sequence).filter(|message| message.handle == handle);
        let Some(message) = message.filter(|message| message.is_held(now)) else {
            return Err(Refusal::new("MessageNotInflight", "The message referred to isn't in flight."));
        };
        if message.held_since.is_some_and(|since| now + hold > since + LONGEST_HOLD) {
            let reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
            return Err(Refusal::invalid(reason));
        }
        self.agenda.remove(&(message.visible, sequence));
        message.visible = now + hold;
        self.agenda.insert((message.visible, sequence));
        Ok(())
    }
}

/// Which message a handle is of.
fn read_handle(parameters: &Value) -> Result<(u64, &str), Refusal> {
    let handle = parameters["ReceiptHandle"].as_str().unwrap_or_default();
    let sequence = handle.split_once('.').and_then(|(sequence, _)| sequence.parse().ok());
    let invalid = || Refusal::new("ReceiptHandleIsInvalid", "The input receipt handle is invalid.");
    Ok((sequence.ok_or_else(invalid)?, handle))
}
