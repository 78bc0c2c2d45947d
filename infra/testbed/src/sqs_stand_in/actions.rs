//! The actions of the protocol.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use super::answer::{Answer, Refusal};
use super::message::{Wanted, bytes};
use super::queue::Queue;
use super::{Fate, Shared, lock};

const MOST_ENTRIES: usize = 10;
const LONGEST_POLL: u64 = 20;

#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: HashMap<String, Queue>,
    sent: u64,
    /// What becomes of messages that contain a text.
    doomed: Vec<(String, Fate)>,
}

/// Waits for messages, as long as the request or the queue says.
pub(super) async fn receive(shared: &Shared, parameters: &Value) -> Answer {
    let most = parameters["MaxNumberOfMessages"].as_u64().unwrap_or(1);
    let wait = parameters["WaitTimeSeconds"].as_u64();
    if !(1..=MOST_ENTRIES as u64).contains(&most) || wait.is_some_and(|wait| wait > LONGEST_POLL) {
        return Err(Refusal::invalid("MaxNumberOfMessages must be between 1 and 10, WaitTimeSeconds between 0 and 20"));
    }
    let most = usize::try_from(most).unwrap_or(1);
    let began = Instant::now();
    loop {
        let changed = shared.changed.notified();
        let (until, next) = {
            let mut queues = lock(&shared.queues);
            let messages = queues.receive(parameters, most)?;
            let queue = queues.find(parameters)?;
            let until = began + wait.map_or_else(|| queue.wait(), Duration::from_secs);
            if !messages.is_empty() {
                return Ok(json!({"Messages": messages}));
            }
            if Instant::now() >= until {
                return Ok(json!({}));
            }
            (until, queue.next())
        };
        tokio::select! {
            () = changed => {}
            () = sleep_until(next.map_or(until, |next| next.min(until))) => {}
        }
    }
}

impl Queues {
    /// Does all but to receive.
    pub(super) fn act(&mut self, action: &str, parameters: &Value) -> Answer {
        match action {
            "CreateQueue" => self.create(parameters),
            "ListQueues" => Ok(json!({"QueueUrls": self.queues.keys().collect::<Vec<_>>()})),
            "GetQueueUrl" => {
                self.find(parameters)?;
                Ok(json!({"QueueUrl": url(name(parameters))}))
            }
            "GetQueueAttributes" => Ok(json!({"Attributes": self.find(parameters)?.shown()})),
            "SetQueueAttributes" => {
                self.find(parameters)?.set(&attributes(parameters));
                Ok(json!({}))
            }
            "PurgeQueue" => {
                self.find(parameters)?.clear();
                Ok(json!({}))
            }
            "DeleteQueue" => {
                self.find(parameters)?;
                self.queues.remove(name(parameters));
                Ok(json!({}))
            }
            "SendMessage" => self.send_alone(parameters),
            "SendMessageBatch" => self.send_batch(parameters),
            "DeleteMessage" => self.find(parameters)?.delete(parameters).map(|()| json!({})),
            "DeleteMessageBatch" => self.batch(parameters, |queues, entry| {
                queues.find(parameters)?.delete(entry)?;
                Ok(json!({"Id": entry["Id"]}))
            }),
            "ChangeMessageVisibility" => self.find(parameters)?.change_visibility(parameters).map(|()| json!({})),
            "ChangeMessageVisibilityBatch" => self.batch(parameters, |queues, entry| {
                queues.find(parameters)?.change_visibility(entry)?;
                Ok(json!({"Id": entry["Id"]}))
            }),
            _ => Err(Refusal::new("InvalidAction", format!("The action {action} is not played."))),
        }
    }

    pub(super) fn lapse(&mut self, name: &str) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.lapse();
        }
    }

    pub(super) fn doom(&mut self, text: &str, fate: Fate) {
        self.doomed.push((text.to_owned(), fate));
    }

    fn fate(&self, message: &Value) -> Option<Fate> {
        let text = message["MessageBody"].as_str().unwrap_or_default();
        self.doomed.iter().find(|(doomed, _)| text.contains(doomed)).map(|(_, fate)| *fate)
    }

    fn find(&mut self, parameters: &Value) -> Result<&mut Queue, Refusal> {
        let missing = || Refusal::new("QueueDoesNotExist", "The specified queue does not exist.");
        self.queues.get_mut(name(parameters)).ok_or_else(missing)
    }

    fn create(&mut self, parameters: &Value) -> Answer {
        let (name, attributes) = (name(parameters), attributes(parameters));
        let fifo = attributes.get("FifoQueue").is_some_and(|fifo| fifo == "true");
        if fifo != name.ends_with(".fifo") {
            return Err(Refusal::invalid("The name of a FIFO queue, and no other, ends with .fifo"));
        }
        match self.queues.get(name) {
            Some(queue) if !queue.has(&attributes) => {
                return Err(Refusal::new(
                    "QueueNameExists",
                    "A queue already exists with the same name and a different value for an attribute",
                ));
            }
            Some(_) => {}
            None => _ = self.queues.insert(name.to_owned(), Queue::new(name, &attributes)),
        }
        Ok(json!({"QueueUrl": url(name)}))
    }

    fn send(&mut self, parameters: &Value, message: &Value) -> Answer {
        self.sent += 1;
        let sequence = self.sent;
        self.find(parameters)?.send(message, sequence)
    }

    fn send_alone(&mut self, parameters: &Value) -> Answer {
        let fate = self.fate(parameters);
        if let Some(Fate::Fails(status, code)) = fate {
            return Err(Refusal::wanted(status, code));
        }
        let sent = self.send(parameters, parameters)?;
        Ok(if fate == Some(Fate::Unmentioned) { json!({}) } else { sent })
    }

    fn send_batch(&mut self, parameters: &Value) -> Answer {
        let entries = parameters["Entries"].as_array().map_or(&[][..], Vec::as_slice);
        if entries.iter().map(bytes).sum::<usize>() > self.find(parameters)?.most_bytes() {
            return Err(Refusal::new(
                "BatchRequestTooLong",
                "The length of all the messages put together is more than the limit.",
            ));
        }
        let mut answer = self.batch(parameters, |queues, entry| {
            if let Some(Fate::Fails(status, code)) = queues.fate(entry) {
                return Err(Refusal::wanted(status, code));
            }
            let mut sent = queues.send(parameters, entry)?;
            sent["Id"] = entry["Id"].clone();
            Ok(sent)
        })?;
        let unmentioned = entries.iter().filter(|entry| self.fate(entry) == Some(Fate::Unmentioned));
        let unmentioned: Vec<&Value> = unmentioned.map(|entry| &entry["Id"]).collect();
        if let Some(done) = answer["Successful"].as_array_mut() {
            done.retain(|entry| !unmentioned.contains(&&entry["Id"]));
        }
        Ok(answer)
    }

    /// Each entry succeeds or fails for itself.
    fn batch(&mut self, parameters: &Value, mut act: impl FnMut(&mut Queues, &Value) -> Answer) -> Answer {
        let entries = parameters["Entries"].as_array().map_or(&[][..], Vec::as_slice);
        self.find(parameters)?;
        if entries.is_empty() {
            return Err(Refusal::new("EmptyBatchRequest", "There should be at least one entry in the request."));
        }
        if entries.len() > MOST_ENTRIES {
            return Err(Refusal::new("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10."));
        }
        let distinct: HashSet<_> = entries.iter().map(|entry| entry["Id"].as_str()).collect();
        if distinct.len() != entries.len() {
            return Err(Refusal::new("BatchEntryIdsNotDistinct", "Two or more batch entries have the same Id."));
        }
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            match act(self, entry) {
                Ok(entry) => done.push(entry),
                Err(refusal) => failed.push(refusal.entry(&entry["Id"])),
            }
        }
        Ok(json!({"Successful": done, "Failed": failed}))
    }

    /// What can be received now. Whatever was received too often goes to the dead letters instead.
    fn receive(&mut self, parameters: &Value, most: usize) -> Result<Vec<Value>, Refusal> {
        let hold = parameters["VisibilityTimeout"].as_u64().map(Duration::from_secs);
        let wanted = Wanted::read(parameters);
        let queue = self.find(parameters)?;
        queue.forget_expired();
        let redrive = queue.redrive();
        let (mut messages, mut dead) = (Vec::new(), Vec::new());
        for sequence in queue.ready(most) {
            if redrive.as_ref().is_some_and(|redrive| queue.receives(sequence) >= redrive.most_receives) {
                dead.extend(queue.remove(sequence));
            } else {
                messages.extend(queue.hand_out(sequence, hold).map(|message| message.shown(&wanted)));
            }
        }
        if let Some(target) = redrive.and_then(|redrive| self.queues.get_mut(&redrive.target)) {
            for mut message in dead {
                message.held_since = None;
                target.put(message);
            }
        }
        Ok(messages)
    }
}

/// The last part of a queue's URL, or its name.
fn name(parameters: &Value) -> &str {
    let url = parameters["QueueUrl"].as_str().or_else(|| parameters["QueueName"].as_str()).unwrap_or_default();
    url.rsplit('/').next().unwrap_or_default()
}

/// Whoever asks knows the host.
fn url(name: &str) -> String {
    format!("http://localhost/{}/{name}", crate::sqs::ACCOUNT)
}

fn attributes(parameters: &Value) -> Map<String, Value> {
    parameters["Attributes"].as_object().cloned().unwrap_or_default()
}
