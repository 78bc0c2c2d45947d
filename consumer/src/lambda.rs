//! The handlers as an AWS Lambda function: an SQS queue triggers it, and each batch is answered with what is to come again.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lambda_runtime::{LambdaEvent, run_concurrent, service_fn};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use webhook_queue::{BoxError, ConfigError, Settlement, SqsBatch, SqsBatchResponse, SqsRecord, SqsTrigger, Triggered};

use crate::call::Call;
use crate::consumer::Consumer;
use crate::dispatch::{Closing, Dispatcher};
use crate::error::Error;
use crate::router::Router;

/// What is left of an invocation's time for the answer.
const TO_ANSWER: Duration = Duration::from_millis(500);
/// What is left of the time before that for settling, and then for handing back what was not begun: half of it for each. Of
/// a short invocation it is a quarter.
const TO_SETTLE: Duration = Duration::from_secs(2);

/// A [`Router`]'s handlers for the batches that an SQS event source hands to a function.
#[derive(Clone)]
pub struct BatchHandler {
    shared: Arc<Shared>,
}

struct Shared {
    trigger: SqsTrigger,
    dispatcher: Dispatcher,
    permits: Semaphore,
}

/// How the time of an invocation is spent.
#[derive(Clone, Copy)]
struct Times {
    /// The last moment at which a handler begins.
    begin_by: Instant,
    /// When handlers are interrupted.
    end: Instant,
    /// By when what has ended is settled.
    settled: Instant,
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
        Ok(BatchHandler { shared: Arc::new(Shared { trigger, dispatcher, permits }) })
    }
}

async fn invoke(handler: BatchHandler, event: LambdaEvent<SqsBatch>) -> Result<SqsBatchResponse, BoxError> {
    // One that has passed before the invocation began is an emulator's, and means nothing.
    let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(Duration::from_secs(3));
    Ok(handler.handle(event.payload, Instant::now() + left.saturating_sub(TO_ANSWER)).await)
}

impl BatchHandler {
    /// Handles a batch, and says by `deadline` what is to come again: SQS deletes all the other messages.
    ///
    /// * An event that is handled is not reported, nor one that has become a dead letter: it lies on `{name}-dead`, with
    ///   its reason.
    /// * A failed attempt is reported, and its message hidden until the next one is due; where the function may not do
    ///   that (`sqs:ChangeMessageVisibility`), until the queue's own visibility timeout has passed.
    /// * Handlers are interrupted two seconds before `deadline`, or when a quarter of the time is left: that is a failed
    ///   attempt. None is begun with less than its timeout left, or half of the time for handlers where that is shorter.
    /// * The messages of a FIFO queue's group are handled one after the other. Behind the first one that is reported the
    ///   rest of its group is not begun.
    /// * What is not begun is reported, and visible again at once.
    /// * A message of another queue than `QUEUE_URL` is reported, and the mistake logged.
    pub async fn handle(&self, batch: SqsBatch, deadline: Instant) -> SqsBatchResponse {
        let ids = batch.ids();
        let times = self.shared.times(deadline);
        let (unbegun, handed_back) = mpsc::channel(ids.len().max(1));
        let mut sequences = JoinSet::new();
        for sequence in batch.sequences() {
            let (shared, unbegun) = (Arc::clone(&self.shared), unbegun.clone());
            sequences.spawn(async move { shared.in_order(sequence, times, &unbegun).await });
        }
        drop(unbegun);
        let (done, ()) = tokio::join!(ended(sequences, deadline), self.shared.hand_back(handed_back, deadline));
        SqsBatchResponse::failures(ids.into_iter().filter(|id| !done.contains(id)))
    }
}

/// The ids of the messages that may be deleted, as far as they are known at the deadline.
async fn ended(mut sequences: JoinSet<Vec<String>>, deadline: Instant) -> HashSet<String> {
    let mut done = HashSet::new();
    while let Ok(Some(ended)) = timeout_at(deadline, sequences.join_next()).await {
        // A handler's panic ends in a settlement, so this is our own mistake. Nothing of it is deleted.
        match ended {
            Ok(ended) => done.extend(ended),
            Err(error) => tracing::error!("deliveries were dropped by mistake and come again: {error}"),
        }
    }
    if !sequences.is_empty() {
        tracing::error!(handlers = sequences.len(), "handlers that block their thread cannot be interrupted in time");
    }
    done
}

impl Shared {
    fn times(&self, deadline: Instant) -> Times {
        let left = deadline.saturating_duration_since(Instant::now());
        let to_settle = TO_SETTLE.min(left / 4);
        let end = deadline - to_settle;
        let enough = self.dispatcher.handler_timeout.min((left - to_settle) / 2);
        Times { begin_by: end - enough, end, settled: end + to_settle / 2 }
    }

    /// The ids of the messages that may be deleted.
    async fn in_order(&self, sequence: Vec<SqsRecord>, times: Times, unbegun: &mpsc::Sender<SqsRecord>) -> Vec<String> {
        let mut done = Vec::new();
        let mut rest = VecDeque::from(sequence);
        while let Some(record) = rest.pop_front() {
            if !self.trigger.is_source_of(&record) {
                let name = self.trigger.name();
                tracing::error!(message.id = record.message_id, "QUEUE_URL names {name}, and this is of another queue");
                return done;
            }
            let Some(permit) = self.turn(times).await else {
                rest.push_front(record);
                break;
            };
            let message = Triggered::new(record);
            let settlement = self.settlement(&message, times).await;
            drop(permit);
            if !self.trigger.settle(&message, &settlement, times.settled).await {
                break;
            }
            done.push(message.id().to_owned());
        }
        for record in rest {
            // There is room for all of them, and without a receiver the time is up.
            let _ = unbegun.try_send(record);
        }
        done
    }

    /// `None` when there is too little time left to begin.
    async fn turn(&self, times: Times) -> Option<SemaphorePermit<'_>> {
        // Never closed, so never an error.
        let permit = timeout_at(times.begin_by, self.permits.acquire()).await.ok()?.ok()?;
        // On a busy machine timers are late.
        (Instant::now() < times.begin_by).then_some(permit)
    }

    async fn settlement(&self, message: &Triggered, times: Times) -> Settlement {
        let call = Call::new(Arc::clone(message.event()), message.attempt());
        let age = || SystemTime::now().duration_since(message.first_received()).unwrap_or_default();
        let closing = Closing::Invocation { begin_by: times.begin_by, end: times.end };
        self.dispatcher.dispatch(call, 0, age, closing).await
    }

    async fn hand_back(&self, mut unbegun: mpsc::Receiver<SqsRecord>, deadline: Instant) {
        let mut records = Vec::new();
        while let Ok(1..) = timeout_at(deadline, unbegun.recv_many(&mut records, unbegun.max_capacity())).await {
            tracing::info!(events = records.len(), "events that were not begun are handed back");
            self.trigger.release(&records, deadline).await;
            records.clear();
        }
    }
}

impl fmt::Debug for BatchHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHandler").field("queue", &self.shared.trigger.name()).finish_non_exhaustive()
    }
}
