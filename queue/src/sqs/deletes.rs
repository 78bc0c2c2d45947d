//! Deleting what is settled: many messages in one request, and each with an answer of its own.

use std::time::Duration;

use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use tokio::time::Instant;

use super::client::{Client, explain};
use super::gather::{Asked, Entry, Gather};
use super::visibility::{Trouble, stale};
use crate::publish::PublishError;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A way to the task that deletes. There are never more deletes than deliveries.
#[derive(Debug)]
pub(super) struct Deletes(Gather<Handle>);

/// A receipt handle of what is to be deleted, even if nobody waits for the answer.
#[derive(Debug)]
struct Handle(String);

impl Deletes {
    /// Starts the task. It ends with this value.
    pub(super) fn start(client: Client) -> Deletes {
        Deletes(Gather::start(client))
    }

    /// `Ok` is SQS's word that the message is gone.
    pub(super) async fn delete(&self, handle: &str) -> Result<(), Trouble> {
        let answer = self.0.ask(Handle(handle.to_owned())).await;
        answer.unwrap_or_else(|| Err(failed("the subscriber was closed".to_owned())))
    }
}

impl Entry for Handle {
    type Answer = Result<(), Trouble>;

    /// SQS limits the bytes of messages only.
    fn bytes(&self) -> usize {
        0
    }

    async fn carry(client: &Client, batch: Vec<Asked<Handle>>) {
        let entry = |(place, asked): (usize, &Asked<Handle>)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string());
            entry.receipt_handle(&asked.entry.0).build().ok()
        };
        let request = client.sdk.delete_message_batch().queue_url(client.address.url());
        let answer = request
            .set_entries(Some(batch.iter().enumerate().filter_map(entry).collect()))
            .customize()
            .config_override(Client::until(Instant::now() + CALL_TIMEOUT))
            .send()
            .await
            .map_err(|error| explain(error).to_string());
        for (place, asked) in batch.into_iter().enumerate() {
            let place = place.to_string();
            let outcome = match &answer {
                Ok(answer) if answer.successful.iter().any(|entry| entry.id == place) => Ok(()),
                Ok(answer) => {
                    let code = answer.failed.iter().find(|entry| entry.id == place).map(|entry| entry.code.as_str());
                    match code {
                        Some(code) if stale(code) => Err(Trouble::Stale),
                        code => {
                            let why = code.unwrap_or("it says nothing of it");
                            Err(failed(format!("SQS did not delete it: {why}")))
                        }
                    }
                }
                Err(error) => Err(failed(error.clone())),
            };
            asked.answer(outcome);
        }
    }
}

fn failed(why: String) -> Trouble {
    Trouble::Failed(PublishError::Unreachable(why.into()))
}
