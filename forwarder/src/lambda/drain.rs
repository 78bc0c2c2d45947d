//! The function that an SQS queue triggers: it moves what lies there to the first queue.

use std::collections::HashSet;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lambda_runtime::{LambdaEvent, run_concurrent, service_fn};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use webhook_queue::{
    BoxError, ConfigError, Env, Publish, Publisher, QueueConfig, SqsBatch, SqsBatchResponse, SqsRecord, chain,
};

use super::secrets::{Later, Secrets};

/// How many events are in flight at a time, whatever the batch size.
const AT_ONCE: usize = 32;
/// How long the queue has for one event.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// What is left of an invocation's time for the answer.
const TO_ANSWER: Duration = Duration::from_millis(500);

/// Serves the invocations of an SQS event source until Lambda ends the process. Each event is published to the first
/// queue and to no fallback; what was not confirmed there, or is no event, is reported as a failure and stays on SQS.
/// The event source must have `ReportBatchItemFailures` among its function response types.
///
/// # Errors
/// When the queue cannot be opened or the runtime API not be reached.
///
/// # Panics
/// Outside of Lambda, where the variables that it sets are missing.
pub async fn serve_drain(config: &QueueConfig) -> Result<(), BoxError> {
    let publisher = open(config)?;
    run_concurrent(service_fn(move |event| invoke(ready(Ok(publisher.clone())), event))).await
}

/// As [`serve_drain`], where the environment names secrets: they can be read as soon as there is a first batch.
/// `configure` makes of the environment that has them what [`serve_drain`] wants. While that fails, every batch stays on
/// SQS, and the next one tries again.
///
/// # Errors
/// When the runtime API cannot be reached.
///
/// # Panics
/// Outside of Lambda, where the variables that it sets are missing.
pub async fn serve_drain_with<C>(secrets: Secrets, configure: C) -> Result<(), BoxError>
where
    C: Fn(Env) -> Result<QueueConfig, ConfigError> + Send + Sync + 'static,
{
    let later = Arc::new(Later::new(secrets, move |env| open(&configure(env)?)));
    run_concurrent(service_fn(move |event| {
        let later = later.clone();
        invoke(async move { later.get().await }, event)
    }))
    .await
}

/// The first queue, and no fallback.
fn open(config: &QueueConfig) -> Result<Publisher, BoxError> {
    let Some(first) = config.rungs().next() else { return Err("there is no queue".into()) };
    let publisher = Publisher::open(&first)?;
    let name = first.url.redacted();
    tracing::info!(queue = name, "moving messages of SQS to {name}");
    Ok(publisher)
}

async fn invoke(
    publisher: impl Future<Output = Result<Publisher, BoxError>>,
    event: LambdaEvent<SqsBatch>,
) -> Result<SqsBatchResponse, BoxError> {
    let publisher = publisher.await?;
    // One that has passed before the invocation began is an emulator's, and means nothing.
    let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(PUBLISH_TIMEOUT);
    let deadline = Instant::now() + left.saturating_sub(TO_ANSWER);
    Ok(drain(publisher, event.payload, deadline).await)
}

async fn drain<P>(publisher: P, batch: SqsBatch, deadline: Instant) -> SqsBatchResponse
where
    P: Publish + Clone + 'static,
{
    let ids = batch.ids();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for sequence in batch.sequences() {
        let (publisher, room) = (publisher.clone(), Arc::clone(&room));
        tasks.spawn(async move {
            let Ok(_room) = room.acquire().await else { return Vec::new() };
            in_order(&publisher, sequence, deadline).await
        });
    }
    let mut moved = HashSet::new();
    while let Some(done) = tasks.join_next().await {
        // A task that panicked has moved nothing that we know of.
        moved.extend(done.unwrap_or_default());
    }
    tracing::info!(events = moved.len(), failures = ids.len() - moved.len(), "batch moved");
    SqsBatchResponse::failures(ids.into_iter().filter(|id| !moved.contains(id)))
}

/// The messages that are confirmed elsewhere. After the first that is not, the rest of the sequence is left.
async fn in_order<P: Publish>(publisher: &P, sequence: Vec<SqsRecord>, deadline: Instant) -> Vec<String> {
    let mut moved = Vec::new();
    for record in sequence {
        let event = record.event();
        let id = record.message_id;
        let reason = match event {
            Ok(event) => match publisher.publish(&event, deadline.min(Instant::now() + PUBLISH_TIMEOUT)).await {
                Ok(()) => {
                    moved.push(id);
                    continue;
                }
                Err(error) => chain(&error),
            },
            Err(undecodable) => undecodable.to_string(),
        };
        tracing::warn!(message.id = id, reason, "message not moved: {reason}");
        break;
    }
    moved
}
