//! The queue behind an event source: how a function settles what it was handed. Lambda itself deletes a message that the
//! function does not report, so that only the rest is done here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::batch::SqsRecord;
use super::client::Client;
use super::message::{self, Outgoing};
use super::sort::unknown;
use super::take::Taken;
use super::visibility;
use crate::config::QueueConfig;
use crate::env::{ConfigError, Problem};
use crate::event::Event;
use crate::moment::Moment;
use crate::publish::PublishError;
use crate::queue_url::QueueUrl;
use crate::subscribe::Settlement;

/// The queue that triggers a function.
#[derive(Clone, Debug)]
pub struct SqsTrigger {
    client: Client,
}

/// A message that the function was handed.
#[derive(Debug)]
pub struct Triggered {
    taken: Taken,
    event: Arc<Event>,
    attempt: u32,
    first_received: SystemTime,
    received: Moment,
}

impl SqsTrigger {
    /// The queue that `QUEUE_URL` names. Connects nowhere yet.
    ///
    /// # Errors
    /// If that is no SQS queue, or there are no credentials.
    pub fn open(config: &QueueConfig) -> Result<SqsTrigger, ConfigError> {
        let QueueUrl::Sqs(url) = &config.url else {
            let message = "must be the SQS queue that triggers the function".to_owned();
            return Err(ConfigError { problems: vec![Problem { variable: "QUEUE_URL".to_owned(), message }] });
        };
        Ok(SqsTrigger { client: Client::new(config, url)? })
    }

    /// Whether the record comes from this queue.
    pub fn is_source_of(&self, record: &SqsRecord) -> bool {
        let address = &self.client.address;
        record.source.ends_with(&format!(":{}:{}", address.account, address.name))
    }

    /// The name of the queue.
    pub fn name(&self) -> &str {
        &self.client.address.name
    }

    /// Settles what the function was handed. Says whether the message may be deleted: if not, it is to be reported.
    ///
    /// * A dead letter is on `{name}-dead`, with its reason, before the original may go.
    /// * For a retry the message is hidden for as long as was asked for, 12 hours at most. Where that fails it comes again
    ///   when the queue's own visibility timeout has passed.
    pub async fn settle(&self, message: &Triggered, settlement: &Settlement) -> bool {
        match settlement {
            Settlement::Ack => true,
            Settlement::Retry { after } => {
                self.hide(message, *after).await;
                false
            }
            Settlement::Release => {
                self.hide(message, Duration::ZERO).await;
                false
            }
            Settlement::DeadLetter(letter) => {
                let dead = Outgoing::dead(&message.taken, message.attempt, message.first_received, letter);
                match self.bury(&dead).await {
                    Ok(()) => true,
                    Err(error) => {
                        let error = crate::chain(&error);
                        tracing::warn!(error, "an event cannot be made a dead letter yet; it comes again");
                        false
                    }
                }
            }
        }
    }

    async fn bury(&self, dead: &Outgoing) -> Result<(), PublishError> {
        let to = self.client.with(self.client.address.dead());
        dead.put(&to).await
    }

    async fn hide(&self, message: &Triggered, hidden: Duration) {
        let Triggered { taken, received, .. } = message;
        if let Err(trouble) = visibility::change(&self.client, &taken.handle, hidden, received.elapsed()).await {
            tracing::warn!(
                ?trouble,
                "an event comes again after the queue's own visibility timeout, not when it should"
            );
        }
    }
}

impl Triggered {
    /// Reads a record, received now. A message that no forwarder has written is an event of the source `unknown`.
    pub fn new(record: SqsRecord) -> Triggered {
        let mut taken = record.into_taken();
        let nothing = super::wire::decode("");
        let event = std::mem::replace(&mut taken.event, nothing).unwrap_or_else(|_| unknown(&taken));
        let attempt = message::attempt(&taken).saturating_add(taken.receives.saturating_sub(1));
        let first_received = message::first_received(&taken).unwrap_or(taken.first_received);
        Triggered { taken, event: Arc::new(event), attempt, first_received, received: Moment::now() }
    }

    /// SQS's own id of the message.
    pub fn id(&self) -> &str {
        &self.taken.id
    }

    /// The event.
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// Which delivery of this event it is, from 1 on. Each time that SQS has handed it out counts.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When a consumer first received this event.
    pub fn first_received(&self) -> SystemTime {
        self.first_received
    }
}
