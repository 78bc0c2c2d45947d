//! Taking messages back, for a drain.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, QueueAttributeName,
};
use tokio::time::Instant;

use super::client::{Client, explain};
use super::wire::{self, Undecodable};
use crate::config::QueueConfig;
use crate::env::ConfigError;
use crate::event::Event;
use crate::publish::PublishError;

/// The most that SQS hands out at a time.
const BATCH: i32 = 10;
/// How long one question may take, beyond the time that it is to wait for messages.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes messages off one queue, a batch at a time.
#[derive(Debug)]
pub(super) struct Taker {
    client: Client,
}

/// A message that nobody else sees until its lease ends.
#[derive(Debug)]
pub(super) struct Taken {
    /// SQS's own id of the message.
    pub(super) id: String,
    pub(super) event: Result<Event, Undecodable>,
    handle: String,
}

impl Taker {
    pub(super) fn open(config: &QueueConfig, url: &str) -> Result<Taker, ConfigError> {
        Ok(Taker { client: Client::new(config, url)? })
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.client.address.is_fifo()
    }

    /// Up to a batch of messages, oldest first where the queue keeps an order, each for the length of `lease`.
    pub(super) async fn take(&self, wait: Duration, lease: Duration) -> Result<Vec<Taken>, PublishError> {
        let answer = self.client.sdk.receive_message().queue_url(self.client.address.url());
        let answer = answer
            .max_number_of_messages(BATCH)
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
        let entries = messages.iter().enumerate().filter_map(|(place, message)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder();
            entry.id(place.to_string()).receipt_handle(&message.handle).visibility_timeout(0).build().ok()
        });
        let request = self.client.sdk.change_message_visibility_batch().queue_url(self.client.address.url());
        let given = request
            .set_entries(Some(entries.collect()))
            .customize()
            .config_override(Client::until(Instant::now() + CALL_TIMEOUT))
            .send()
            .await;
        if let Err(error) = given {
            tracing::debug!(reason = %explain(error), "messages were not given back: their leases end by themselves");
        }
    }

    /// About how many messages are on the queue, held ones included.
    pub(super) async fn count(&self) -> Result<u64, PublishError> {
        let counted = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let attributes = attributes(&self.client, counted.to_vec()).await?;
        Ok(attributes.values().filter_map(|count| count.parse::<u64>().ok()).sum())
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
    Taken {
        id: message.message_id.unwrap_or_default(),
        event: wire::decode(&message.body.unwrap_or_default()),
        handle: message.receipt_handle.unwrap_or_default(),
    }
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
