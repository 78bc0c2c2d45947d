//! Taking messages off a queue, a batch at a time, and what may be asked about them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName,
};
use tokio::time::Instant;

use super::client::{Client, explain};
use super::wire::{self, Undecodable};
use crate::config::QueueConfig;
use crate::env::ConfigError;
use crate::event::Event;
use crate::publish::PublishError;

/// The most that SQS hands out at a time.
pub(super) const BATCH: usize = 10;
/// How long one question may take, beyond the time that it is to wait for messages.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked for with every message, beside its own attributes.
const FACTS: [MessageSystemAttributeName; 4] = [
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::ApproximateFirstReceiveTimestamp,
    MessageSystemAttributeName::SentTimestamp,
    MessageSystemAttributeName::MessageGroupId,
];

/// Takes messages off one queue, a batch at a time.
#[derive(Clone, Debug)]
pub(super) struct Taker {
    pub(super) client: Client,
}

/// A message that nobody else sees until its lease ends.
#[derive(Debug)]
pub(super) struct Taken {
    /// SQS's own id of the message.
    pub(super) id: String,
    pub(super) event: Result<Event, Undecodable>,
    pub(super) body: String,
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
    /// What proves that we hold it.
    pub(super) handle: String,
    /// How often it was handed out, this time included.
    pub(super) receives: u32,
    pub(super) first_received: SystemTime,
    pub(super) sent: SystemTime,
    pub(super) group: Option<String>,
}

impl Taker {
    pub(super) fn open(config: &QueueConfig, url: &str) -> Result<Taker, ConfigError> {
        Ok(Taker { client: Client::new(config, url)? })
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.client.address.is_fifo()
    }

    /// Up to a batch of messages, oldest first where the queue keeps an order, each for the length of `lease`.
    pub(super) async fn take(&self, most: usize, wait: Duration, lease: Duration) -> Result<Vec<Taken>, PublishError> {
        let answer = self.client.sdk.receive_message().queue_url(self.client.address.url());
        let answer = answer
            .max_number_of_messages(i32::try_from(most.min(BATCH)).unwrap_or(1))
            .set_message_system_attribute_names(Some(FACTS.to_vec()))
            .message_attribute_names("All")
            .wait_time_seconds(whole_seconds(wait))
            .visibility_timeout(whole_seconds(lease))
            .customize()
            .config_override(Client::until(Instant::now() + wait + CALL_TIMEOUT))
            .send()
            .await
            .map_err(explain)?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(read).collect())
    }

    /// Deletes messages. Says how many of them are certainly gone; another one comes again.
    pub(super) async fn delete(&self, messages: &[Taken]) -> Result<usize, PublishError> {
        let entries = messages.iter().enumerate().map(|(place, message)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(place.to_string())
                .receipt_handle(&message.handle)
                .build()
                .map_err(|error| PublishError::Refused(error.to_string()))
        });
        let request = self.client.sdk.delete_message_batch().queue_url(self.client.address.url());
        let answer = request
            .set_entries(Some(entries.collect::<Result<_, _>>()?))
            .customize()
            .config_override(Client::until(Instant::now() + CALL_TIMEOUT))
            .send()
            .await
            .map_err(explain)?;
        for failed in &answer.failed {
            tracing::warn!(reason = failed.code, "SQS did not delete a message: it comes again");
        }
        Ok(answer.successful.len())
    }

    /// Ends the leases of messages that stay on the queue. What fails here ends by itself.
    pub(super) async fn give_back(&self, messages: &[Taken]) {
        let handles: Vec<&str> = messages.iter().map(|message| &*message.handle).collect();
        self.hold(&handles, Duration::ZERO).await;
    }

    /// Sets for how long from now on nobody else sees some messages, as many as a batch has. Where that fails, their
    /// leases end as they would have.
    pub(super) async fn hold(&self, handles: &[&str], lease: Duration) {
        if handles.is_empty() {
            return;
        }
        let entries = handles.iter().enumerate().filter_map(|(place, handle)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().visibility_timeout(whole_seconds(lease));
            entry.id(place.to_string()).receipt_handle(*handle).build().ok()
        });
        let request = self.client.sdk.change_message_visibility_batch().queue_url(self.client.address.url());
        let held = request
            .set_entries(Some(entries.collect()))
            .customize()
            .config_override(Client::until(Instant::now() + CALL_TIMEOUT))
            .send()
            .await;
        if let Err(error) = held {
            tracing::debug!(reason = %explain(error), "the leases of messages could not be changed: they end by themselves");
        }
    }

    /// About how many messages are on the queue, held ones included.
    pub(super) async fn count(&self) -> Result<u64, PublishError> {
        let (waiting, others) = self.counts().await?;
        Ok(waiting + others)
    }

    /// About how many messages wait, and how many are held or delayed.
    pub(super) async fn counts(&self) -> Result<(u64, u64), PublishError> {
        let waiting = QueueAttributeName::ApproximateNumberOfMessages;
        let held = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let delayed = QueueAttributeName::ApproximateNumberOfMessagesDelayed;
        let attributes = attributes(&self.client, vec![waiting.clone(), held.clone(), delayed.clone()]).await?;
        let count = |name| attributes.get(name).and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        Ok((count(&waiting), count(&held) + count(&delayed)))
    }
}

/// Attributes of the queue, by their names.
pub(super) async fn attributes(
    client: &Client,
    wanted: Vec<QueueAttributeName>,
) -> Result<HashMap<QueueAttributeName, String>, PublishError> {
    let request = client.sdk.get_queue_attributes().queue_url(client.address.url());
    let answer = request
        .set_attribute_names(Some(wanted))
        .customize()
        .config_override(Client::until(Instant::now() + CALL_TIMEOUT))
        .send()
        .await
        .map_err(explain)?;
    Ok(answer.attributes.unwrap_or_default())
}

fn read(message: Message) -> Taken {
    let mut facts = message.attributes.unwrap_or_default();
    let body = message.body.unwrap_or_default();
    let number = |text: &String| text.parse::<u64>().ok();
    let receives = facts.get(&MessageSystemAttributeName::ApproximateReceiveCount).and_then(number).unwrap_or(1);
    let time = |name| facts.get(&name).and_then(number).map(|millis| UNIX_EPOCH + Duration::from_millis(millis));
    let first_received = time(MessageSystemAttributeName::ApproximateFirstReceiveTimestamp);
    let sent = time(MessageSystemAttributeName::SentTimestamp);
    Taken {
        id: message.message_id.unwrap_or_default(),
        event: wire::decode(&body),
        body,
        attributes: message.message_attributes.unwrap_or_default(),
        handle: message.receipt_handle.unwrap_or_default(),
        receives: u32::try_from(receives).unwrap_or(u32::MAX),
        first_received: first_received.unwrap_or_else(SystemTime::now),
        sent: sent.unwrap_or_else(SystemTime::now),
        group: facts.remove(&MessageSystemAttributeName::MessageGroupId),
    }
}

/// SQS knows no parts of a second, and never waits for less than was asked for.
pub(super) fn whole_seconds(duration: Duration) -> i32 {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    i32::try_from(seconds).unwrap_or(i32::MAX)
}
