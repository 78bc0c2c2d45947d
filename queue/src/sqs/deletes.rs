//! Deleting what is settled: many messages in one request, and each with an answer of its own.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::client::{Client, explain};
use super::take::BATCH;
use super::visibility::{Trouble, stale};
use crate::publish::PublishError;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How many requests there are at a time. While all of them are under way, what comes next gathers for a larger one.
const AT_ONCE: usize = 8;

/// A way to the task that deletes.
#[derive(Debug)]
pub(super) struct Deletes {
    queue: mpsc::UnboundedSender<Wanted>,
}

/// There are never more of them than deliveries.
#[derive(Debug)]
struct Wanted {
    handle: String,
    answer: oneshot::Sender<Result<(), Trouble>>,
}

impl Deletes {
    /// Starts the task. It ends with this value.
    pub(super) fn start(client: Client) -> Deletes {
        let (queue, wanted) = mpsc::unbounded_channel();
        tokio::spawn(run(client, wanted));
        Deletes { queue }
    }

    /// `Ok` is SQS's word that the message is gone.
    pub(super) async fn delete(&self, handle: &str) -> Result<(), Trouble> {
        let (answer, answered) = oneshot::channel();
        let failed = || Trouble::Failed(PublishError::Unreachable("the subscriber was closed".into()));
        self.queue.send(Wanted { handle: handle.to_owned(), answer }).map_err(|_| failed())?;
        answered.await.unwrap_or_else(|_| Err(failed()))
    }
}

async fn run(client: Client, mut wanted: mpsc::UnboundedReceiver<Wanted>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    // Never closed, so never an error.
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let mut batch = Vec::with_capacity(BATCH);
        if wanted.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let client = client.clone();
        tokio::spawn(async move {
            delete(&client, batch).await;
            drop(permit);
        });
    }
}

async fn delete(client: &Client, batch: Vec<Wanted>) {
    let entry = |(place, wanted): (usize, &Wanted)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string());
        entry.receipt_handle(&wanted.handle).build().ok()
    };
    let request = client.sdk.delete_message_batch().queue_url(client.address.url());
    let answer = request
        .set_entries(Some(batch.iter().enumerate().filter_map(entry).collect()))
        .customize()
        .config_override(Client::until(Instant::now() + CALL_TIMEOUT))
        .send()
        .await
        .map_err(|error| explain(error).to_string());
    for (place, wanted) in batch.into_iter().enumerate() {
        let place = place.to_string();
        let outcome = match &answer {
            Ok(answer) if answer.successful.iter().any(|entry| entry.id == place) => Ok(()),
            Ok(answer) => {
                let code = answer.failed.iter().find(|entry| entry.id == place).map(|entry| entry.code.as_str());
                match code {
                    Some(code) if stale(code) => Err(Trouble::Stale),
                    code => Err(failed(format!("SQS did not delete it: {}", code.unwrap_or("it says nothing of it")))),
                }
            }
            Err(error) => Err(failed(error.clone())),
        };
        // Whoever wanted it may have gone; it is deleted all the same.
        let _ = wanted.answer.send(outcome);
    }
}

fn failed(why: String) -> Trouble {
    Trouble::Failed(PublishError::Unreachable(why.into()))
}
