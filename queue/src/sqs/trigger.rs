//! The queue behind an event source: how a function settles what it was handed. Lambda itself deletes a message that the
//! function does not report, so that only the rest is done here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::batch::SqsRecord;
use super::client::Client;
use super::message::{self, Outgoing};
use super::sort::unknown;
use super::take::{BATCH, Taken};
use super::visibility::{self, CALL_TIMEOUT};
use crate::config::QueueConfig;
use crate::env::{ConfigError, Problem};
use crate::event::Event;
use crate::publish::PublishError;
use crate::queue_url::QueueUrl;
use crate::subscribe::Settlement;

/// For how long a function may have had a message: an event source gathers a batch for five minutes at most, and an invocation
/// takes fifteen.
const MOST_HELD: Duration = Duration::from_secs(20 * 60);
/// When a message comes again that could not be made visible: the end of a line in the log.
const LATE: &str = "after the queue's own visibility timeout, not when it should";

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

    /// Settles what the function was handed, by `deadline`. Says whether the message may be deleted: if not, it is to be
    /// reported.
    ///
    /// * A dead letter is on `{name}-dead`, with its reason, before the original may go.
    /// * For a retry the message is hidden for as long as was asked for, eleven and a half hours at most. Where that fails
    ///   it comes again when the queue's own visibility timeout has passed.
    pub async fn settle(&self, message: &Triggered, settlement: &Settlement, deadline: Instant) -> bool {
        match settlement {
            Settlement::Ack => true,
            Settlement::Retry { after } => {
                self.hide(message, *after, deadline).await;
                false
            }
            Settlement::Release => {
                self.hide(message, Duration::ZERO, deadline).await;
                false
            }
            Settlement::DeadLetter(letter) => {
                let dead = Outgoing::dead(&message.taken, message.attempt, message.first_received, letter);
                match self.bury(&dead, deadline).await {
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

    /// Hands back what was not begun, by `deadline`: it comes again at once. It is to be reported, too.
    pub async fn release(&self, records: &[SqsRecord], deadline: Instant) {
        for batch in records.chunks(BATCH) {
            let handles = batch.iter().map(|record| record.receipt_handle.as_str());
            let messages = handles.enumerate().map(|(id, handle)| (id.to_string(), handle));
            match visibility::change_all(&self.client, messages, Duration::ZERO, soon(deadline)).await {
                Ok(answer) => {
                    for entry in answer.failed {
                        tracing::warn!(trouble = entry.code, "an event comes again {LATE}");
                    }
                }
                Err(error) => {
                    let error = crate::chain(&error);
                    return tracing::warn!(error, "events that were not begun come again {LATE}");
                }
            }
        }
    }

    async fn bury(&self, dead: &Outgoing, deadline: Instant) -> Result<(), PublishError> {
        let to = self.client.with(self.client.address.dead());
        dead.send(&to, soon(deadline)).await
    }

    async fn hide(&self, message: &Triggered, hidden: Duration, deadline: Instant) {
        let changed = visibility::change(&self.client, &message.taken.handle, hidden, MOST_HELD, soon(deadline));
        if let Err(trouble) = changed.await {
            tracing::warn!(?trouble, "an event comes again {LATE}");
        }
    }
}

/// No request waits until the end of a long invocation.
fn soon(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + CALL_TIMEOUT)
}

impl Triggered {
    /// Reads a record. A message that no forwarder has written is an event of the source `unknown`.
    pub fn new(record: SqsRecord) -> Triggered {
        let mut taken = record.into_taken();
        let nothing = super::wire::decode("");
        let event = std::mem::replace(&mut taken.event, nothing).unwrap_or_else(|_| unknown(&taken));
        let attempt = message::attempt(&taken).saturating_add(taken.receives.saturating_sub(1));
        let first_received = message::first_received(&taken).unwrap_or(taken.first_received);
        Triggered { taken, event: Arc::new(event), attempt, first_received }
    }

    /// SQS's own id of the message.
    pub fn id(&self) -> &str {
        &self.taken.id
    }

    /// The event.
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// Which delivery of this event it is, from 1 on. Each time that SQS has handed it out counts, also those when it was not
    /// begun: SQS does not know of that.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When a consumer first received this event.
    pub fn first_received(&self) -> SystemTime {
        self.first_received
    }
}
