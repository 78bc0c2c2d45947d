//! Leases, in SQS's words: for how long a message is not visible to others.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::operation::change_message_visibility_batch::ChangeMessageVisibilityBatchOutput;
use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry;
use tokio::time::Instant;

use super::client::{Client, explain};
use super::lease::Hold;
use super::take::whole_seconds;
use crate::publish::PublishError;

/// How long one request may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// SQS hides no message for longer than twelve hours after it was received, by its own clock.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60 - 60);

/// Why a message that was received could not be changed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Somebody else has received it since, or it is gone: our receipt handle means nothing any more.
    Stale,
    /// It may be tried again.
    Failed(PublishError),
}

/// Whether SQS calls a receipt handle worthless with this word: it is another one's, the message has become visible or was
/// deleted, or it cannot be hidden any longer.
pub(super) fn stale(code: &str) -> bool {
    let code = code.rsplit('.').next().unwrap_or(code);
    matches!(code, "ReceiptHandleIsInvalid" | "MessageNotInflight" | "InvalidParameterValue" | "InvalidIdFormat")
}

/// Hides one message, which we have had for the time `held`, for so long from now on, or as long as SQS lets us.
pub(super) async fn change(
    client: &Client,
    handle: &str,
    hidden: Duration,
    held: Duration,
    deadline: Instant,
) -> Result<(), Trouble> {
    let hidden = hidden.min(LONGEST.saturating_sub(held));
    let request = client.sdk.change_message_visibility().queue_url(client.address.url()).receipt_handle(handle);
    let request = request.visibility_timeout(whole_seconds(hidden)).customize();
    match request.config_override(Client::until(deadline)).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.code().is_some_and(stale) => Err(Trouble::Stale),
        Err(error) => Err(Trouble::Failed(explain(error))),
    }
}

/// Hides up to a batch of messages, each given by an id of its own and its receipt handle, for so long from now on.
pub(super) async fn change_all<'a>(
    client: &Client,
    messages: impl Iterator<Item = (String, &'a str)>,
    hidden: Duration,
    deadline: Instant,
) -> Result<ChangeMessageVisibilityBatchOutput, PublishError> {
    let entry = |(id, handle)| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(handle);
        entry.visibility_timeout(whole_seconds(hidden)).build().ok()
    };
    let request = client.sdk.change_message_visibility_batch().queue_url(client.address.url());
    let request = request.set_entries(Some(messages.filter_map(entry).collect())).customize();
    request.config_override(Client::until(deadline)).send().await.map_err(explain)
}

/// What became of a batch of extensions.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) extended: Vec<u64>,
    pub(super) lost: Vec<Arc<Hold>>,
}

/// Hides up to a batch of messages for so long from now on. What is neither extended nor lost is to be tried again.
pub(super) async fn extend(client: &Client, holds: &[Arc<Hold>], hidden: Duration) -> Extended {
    let messages = holds.iter().map(|hold| (hold.key.to_string(), hold.taken.handle.as_str()));
    let answer = change_all(client, messages, hidden, Instant::now() + CALL_TIMEOUT).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(%error, "leases could not be extended; trying again");
            return Extended::default();
        }
    };
    let is = |id: &str, hold: &Arc<Hold>| id == hold.key.to_string();
    let extended = holds.iter().filter(|hold| answer.successful.iter().any(|entry| is(&entry.id, hold)));
    let lost = holds.iter().filter(|hold| answer.failed.iter().any(|entry| is(&entry.id, hold) && stale(&entry.code)));
    Extended { extended: extended.map(|hold| hold.key).collect(), lost: lost.map(Arc::clone).collect() }
}
