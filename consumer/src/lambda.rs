//! The handlers as an AWS Lambda function: an SQS queue triggers it, and each batch is answered with what is to come again.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lambda_runtime::{LambdaEvent, run_concurrent, service_fn};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use webhook_queue::{BoxError, ConfigError, Settlement, SqsBatch, SqsBatchResponse, SqsRecord, SqsTrigger, Triggered};

use crate::call::Call;
use crate::consumer::Consumer;
use crate::dispatch::Dispatcher;
use crate::error::Error;
use crate::router::Router;

/// What is left of an invocation's time for settling and for the answer.
const TO_ANSWER: Duration = Duration::from_secs(1);

/// A [`Router`]'s handlers for the batches that an SQS event source hands to a function.
#[derive(Clone)]
pub struct BatchHandler {
    shared: Arc<Shared>,
}

struct Shared {
    trigger: SqsTrigger,
    dispatcher: Dispatcher,
    permits: Semaphore,
    /// Nothing is ever drained: the platform freezes a function between its invocations.
    never: CancellationToken,
}

impl Consumer {
    /// Serves the invocations of an SQS event source until Lambda ends the process. `QUEUE_URL` names the queue that
    /// triggers the function; its event source must have `ReportBatchItemFailures` among its function response types.
    ///
    /// See [`BatchHandler::handle`]. Of the settings `CONSUMER_CONCURRENCY` and `RETRY_MAX_AGE` count, the handler timeout
    /// and what becomes of an event without a handler. Lambda itself decides how much is held.
    ///
    /// # Errors
    /// If a setting or a pattern is wrong, if `QUEUE_URL` is no SQS queue, or if the runtime API cannot be reached.
    ///
    /// # Panics
    /// Outside of Lambda, where the variables that it sets are missing.
    pub async fn run_on_lambda(self, router: Router) -> Result<(), BoxError> {
        let handler = self.batch_handler(router)?;
        tracing::info!(queue.name = handler.shared.trigger.name(), "handling batches of SQS");
        run_concurrent(service_fn(move |event| invoke(handler.clone(), event))).await
    }

    /// What [`run_on_lambda`](Consumer::run_on_lambda) calls for each batch: for a test, or for a runtime of your own.
    ///
    /// # Errors
    /// If a setting or a pattern is wrong, or if `QUEUE_URL` is no SQS queue.
    pub fn batch_handler(self, router: Router) -> Result<BatchHandler, Error> {
        self.config.check().map_err(|problem| ConfigError { problems: vec![problem] })?;
        let config = self.config;
        let trigger = SqsTrigger::open(&config.queue)?;
        let dispatcher = Dispatcher {
            routes: router.build()?,
            unhandled: config.unhandled,
            retry_max_age: config.retry_max_age,
            handler_timeout: config.handler_timeout,
        };
        let permits = Semaphore::new(config.concurrency.min(Semaphore::MAX_PERMITS));
        Ok(BatchHandler { shared: Arc::new(Shared { trigger, dispatcher, permits, never: CancellationToken::new() }) })
    }
}

async fn invoke(handler: BatchHandler, event: LambdaEvent<SqsBatch>) -> Result<SqsBatchResponse, BoxError> {
    // One that has passed before the invocation began is an emulator's, and means nothing.
    let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(Duration::from_secs(3));
    Ok(handler.handle(event.payload, Instant::now() + left.saturating_sub(TO_ANSWER)).await)
}

impl BatchHandler {
    /// Handles a batch, and says what is to come again: SQS deletes all the other messages.
    ///
    /// * An event that is handled is not reported, nor one that has become a dead letter: it lies on `{name}-dead`, with
    ///   its reason.
    /// * A failed attempt is reported, and its message hidden until the next one is due; where the function may not do
    ///   that (`sqs:ChangeMessageVisibility`), until the queue's own visibility timeout has passed.
    /// * Whatever has not ended by `deadline` is interrupted and reported.
    /// * The messages of a FIFO queue's group are handled one after the other. Behind the first one that is reported the
    ///   rest of its group is not begun, and reported too.
    /// * A message of another queue than `QUEUE_URL` is reported, and the mistake logged.
    pub async fn handle(&self, batch: SqsBatch, deadline: Instant) -> SqsBatchResponse {
        let ids = batch.ids();
        let mut sequences = JoinSet::new();
        for sequence in batch.sequences() {
            let shared = Arc::clone(&self.shared);
            sequences.spawn(async move { shared.in_order(sequence, deadline).await });
        }
        let mut done = HashSet::new();
        while let Some(ended) = sequences.join_next().await {
            // A handler's panic ends in a settlement, so this is our own mistake. Nothing of it is deleted.
            match ended {
                Ok(ended) => done.extend(ended),
                Err(error) => tracing::error!("deliveries were dropped by mistake and come again: {error}"),
            }
        }
        SqsBatchResponse::failures(ids.into_iter().filter(|id| !done.contains(id)))
    }
}

impl Shared {
    /// The ids of the messages that may be deleted.
    async fn in_order(&self, sequence: Vec<SqsRecord>, deadline: Instant) -> Vec<String> {
        let mut done = Vec::new();
        for record in sequence {
            if !self.trigger.is_source_of(&record) {
                let name = self.trigger.name();
                tracing::error!(message.id = record.message_id, "QUEUE_URL names {name}, and this is of another queue");
                break;
            }
            let message = Triggered::new(record);
            let settlement = timeout_at(deadline, self.settlement(&message)).await.unwrap_or_else(|_| {
                tracing::warn!(event.id = message.event().id, "the invocation's time is up; the event comes again");
                Settlement::Release
            });
            if !self.trigger.settle(&message, &settlement).await {
                break;
            }
            done.push(message.id().to_owned());
        }
        done
    }

    async fn settlement(&self, message: &Triggered) -> Settlement {
        // Never closed, so never an error.
        let _permit = self.permits.acquire().await;
        let call = Call::new(Arc::clone(message.event()), message.attempt());
        let age = || SystemTime::now().duration_since(message.first_received()).unwrap_or_default();
        self.dispatcher.dispatch(call, 0, age, &self.never).await
    }
}

impl fmt::Debug for BatchHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHandler").field("queue", &self.shared.trigger.name()).finish_non_exhaustive()
    }
}
