//! Sending what is published: many messages in one request, and each with an answer of its own.

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::client::{Client, explain, told};
use super::gather::{Asked, Entry};
use super::message::{Outgoing, unmentioned};
use crate::chain;
use crate::publish::PublishError;

/// One publish.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) message: Outgoing,
    pub(super) deadline: Instant,
    /// Its place among those that wait, free again when it is answered.
    pub(super) _place: OwnedSemaphorePermit,
}

/// On a FIFO queue messages lie in the order of their batch, which is the order in which they came. Of batches that are
/// under way together, SQS may take any first: only whoever waits for the `Ok` of one event before it publishes the next
/// knows their order, as on every queue.
impl Entry for Sending {
    type Answer = Result<(), PublishError>;

    fn bytes(&self) -> usize {
        self.message.bytes()
    }

    async fn carry(client: &Client, batch: Vec<Asked<Sending>>) {
        let now = Instant::now();
        let (batch, late): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|asked| asked.entry.deadline > now && !asked.is_given_up());
        late.into_iter().for_each(|asked| asked.answer(Err(PublishError::TimedOut)));
        if batch.len() > 1 {
            together(client, batch).await;
        } else {
            one_by_one(client, batch).await;
        }
    }
}

async fn one_by_one(client: &Client, batch: Vec<Asked<Sending>>) {
    for asked in batch {
        let outcome = asked.entry.message.send(client, asked.entry.deadline).await;
        asked.answer(outcome);
    }
}

async fn together(client: &Client, batch: Vec<Asked<Sending>>) {
    let entries = batch.iter().enumerate().filter_map(|(place, asked)| asked.entry.message.entry(place, client));
    let request = client.sdk.send_message_batch().queue_url(client.address.url()).set_entries(Some(entries.collect()));
    // Until the last of them has lost its patience: who has less of it must not fail the others.
    let until = batch.iter().map(|asked| asked.entry.deadline).max().unwrap_or_else(Instant::now);
    match request.customize().config_override(Client::until(until)).send().await {
        Ok(answer) => {
            for (place, asked) in batch.into_iter().enumerate() {
                asked.answer(outcome(&answer, &place.to_string()));
            }
        }
        // Nothing of it was sent, and so it is told who is at fault.
        Err(error) if error.code().is_some_and(may_be_due_to_one) => one_by_one(client, batch).await,
        Err(error) => {
            let error = explain(error);
            batch.into_iter().for_each(|asked| asked.answer(Err(likewise(&error))));
        }
    }
}

/// What SQS says of one entry. What it does not mention it may have stored.
fn outcome(answer: &SendMessageBatchOutput, id: &str) -> Result<(), PublishError> {
    if let Some(failed) = answer.failed.iter().find(|entry| entry.id == id) {
        return Err(told(&failed.code, failed.message.as_deref(), !failed.sender_fault));
    }
    let is_stored = answer.successful.iter().any(|entry| entry.id == id);
    if is_stored { Ok(()) } else { Err(unmentioned()) }
}

/// Whether a whole batch may have been refused with this word because of one message, or because of their company.
fn may_be_due_to_one(code: &str) -> bool {
    let code = code.rsplit('.').next().unwrap_or(code);
    matches!(code, "BatchRequestTooLong" | "InvalidMessageContents" | "InvalidParameterValue" | "ValidationException")
}

/// The same once more, for another event of the same request.
fn likewise(error: &PublishError) -> PublishError {
    match error {
        PublishError::TimedOut => PublishError::TimedOut,
        PublishError::Refused(said) => PublishError::Refused(said.clone()),
        PublishError::Unroutable(said) => PublishError::Unroutable(said.clone()),
        PublishError::Blocked(said) => PublishError::Blocked(said.clone()),
        PublishError::Unreachable(source) => PublishError::Unreachable(chain(&**source).into()),
        other => PublishError::Unreachable(chain(other).into()),
    }
}
