//! Putting an event on the queue: the promise, and the closed set of backends that keep it.

use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use crate::config::QueueConfig;
use crate::counts::{Counter, Counts};
use crate::env::ConfigError;
use crate::event::Event;
use crate::ladder::{Ladder, OneOfSeveral};
use crate::queue_url::QueueUrl;
use crate::{BoxError, chain};

/// Puts events on a queue.
///
/// Each sentence here is a test in `queue/tests/contract`, run against every backend.
pub trait Publish: Send + Sync {
    /// Puts one event on the queue and waits for the queue's word.
    ///
    /// * `Ok` means that the queue has taken responsibility: a subscriber will receive this event even if the queue
    ///   and this process are killed the next moment.
    /// * [`Unroutable`](PublishError::Unroutable), [`Refused`](PublishError::Refused) and
    ///   [`TooLarge`](PublishError::TooLarge) mean that the event is not on the queue.
    /// * [`TimedOut`](PublishError::TimedOut), [`Unreachable`](PublishError::Unreachable) and
    ///   [`Blocked`](PublishError::Blocked) mean that nobody knows: the event may be on the queue, so whoever sends it
    ///   again must send the same id. [`NoQueue`](PublishError::NoQueue) holds the error of each queue.
    /// * It returns by `deadline`, whatever the queue does.
    /// * What a subscriber receives equals what was published, field by field and byte for byte;
    ///   [`received`](Event::received) at least to the second. Of several queues, one that is not the first sets
    ///   [`rung`](Event::rung).
    /// * Two publishes are two events, even if they are equal.
    /// * It may be called from any number of tasks at once, and the failure of one call fails no other.
    /// * A dropped future leaves the event either on the queue or not, and affects no other call.
    /// * After a failure the same publisher works again as soon as the queue does.
    fn publish(&self, event: &Event, deadline: Instant) -> impl Future<Output = Result<(), PublishError>> + Send;

    /// Whether a publish would probably succeed, from what is already known. Never waits and never connects.
    fn readiness(&self) -> Readiness;

    /// The largest body that the queue carries, in bytes.
    fn max_body_bytes(&self) -> usize;

    /// How often each queue has answered what, with its name as a log may show it. Nothing where nobody counts.
    fn counts(&self) -> Vec<(String, Counts)> {
        Vec::new()
    }

    /// Closes connections and files. Publishes in flight are awaited, new ones fail.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Why an event was not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The queue cannot be reached, or the connection broke before its answer.
    #[error("the queue cannot be reached")]
    Unreachable(#[source] BoxError),
    /// The deadline passed. The event may be on the queue.
    #[error("the queue did not answer in time")]
    TimedOut,
    /// The queue answered no: full, or not allowed.
    #[error("the queue refused the event: {0}")]
    Refused(String),
    /// The exchange has no queue for the routing key, or is itself missing.
    #[error("the queue does not exist or is not bound: {0}; `webhook-forwarder setup` declares it")]
    Unroutable(String),
    /// The queue takes nothing from anybody at the moment: a memory or disk alarm; on SQS, too many requests, or credentials
    /// or a key that are not good. The event may be on the queue.
    #[error("the queue accepts nothing at the moment: {0}")]
    Blocked(String),
    /// The queue cannot carry a body of this size.
    #[error("the body is larger than the {limit} bytes that the queue carries")]
    TooLarge {
        /// The most it carries.
        limit: usize,
    },
    /// There are several queues, and none of them has confirmed the event: their names, as a log may show them, and
    /// what was wrong, in the order in which they were tried. Any of them whose error says so may hold the event.
    #[error("no queue has confirmed the event: {}", told(.0))]
    NoQueue(Vec<(String, PublishError)>),
}

fn told(failures: &[(String, PublishError)]) -> String {
    let told: Vec<String> = failures.iter().map(|(name, error)| format!("{name}: {}", chain(error))).collect();
    if told.is_empty() { "the deadline had passed".to_owned() } else { told.join("; ") }
}

/// What a publisher knows about its queue without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The last word of the queue was good.
    Ready,
    /// It was not, for this reason.
    NotReady(String),
}

/// The publishing half of the configured queue, or queues.
#[derive(Clone, Debug)]
pub struct Publisher {
    queues: Queues,
}

#[derive(Clone, Debug)]
enum Queues {
    One { name: String, backend: Backend, counter: Arc<Counter> },
    Several(Arc<Ladder<Backend>>),
}

#[derive(Clone, Debug)]
enum Backend {
    #[cfg(feature = "rabbitmq")]
    RabbitMq(crate::rabbitmq::Publisher),
    #[cfg(feature = "rabbitmq_http")]
    RabbitMqHttp(crate::rabbitmq_http::Publisher),
    #[cfg(feature = "sqs")]
    Sqs(crate::sqs::Publisher),
    #[cfg(feature = "sqlite")]
    Sqlite(crate::sqlite::Publisher),
}

/// Calls the same method on whichever backend is there.
macro_rules! each_backend {
    ($self:expr, $backend:ident => $call:expr) => {
        match $self {
            #[cfg(feature = "rabbitmq")]
            Backend::RabbitMq($backend) => $call,
            #[cfg(feature = "rabbitmq_http")]
            Backend::RabbitMqHttp($backend) => $call,
            #[cfg(feature = "sqs")]
            Backend::Sqs($backend) => $call,
            #[cfg(feature = "sqlite")]
            Backend::Sqlite($backend) => $call,
        }
    };
}

impl Publisher {
    /// Opens the queue that the configuration names, and its fallbacks. A SQLite file is made if need be; RabbitMQ is
    /// connected to in the background, so that a broker that is away does not keep a forwarder from starting; SQS is
    /// connected to by the first event.
    ///
    /// With fallbacks, an event is on one queue when `publish` returns `Ok`: the first that confirmed. A queue whose
    /// outcome is not known may hold it as well, with the same id.
    pub fn open(config: &QueueConfig) -> Result<Publisher, ConfigError> {
        let open = |rung: QueueConfig| Ok::<_, ConfigError>((rung.url.redacted(), Backend::open(&rung)?));
        let mut rungs = config.rungs().map(open).collect::<Result<Vec<_>, _>>()?;
        let queues = match rungs.pop() {
            Some((name, backend)) if rungs.is_empty() => Queues::One { name, backend, counter: Arc::default() },
            last => Queues::Several(Arc::new(Ladder::new(rungs.into_iter().chain(last).collect()))),
        };
        Ok(Publisher { queues })
    }

    /// The first queue alone, over the same connection.
    #[cfg(feature = "sqlite")]
    pub(crate) fn first(&self) -> Publisher {
        let queues = match &self.queues {
            Queues::One { .. } => self.queues.clone(),
            Queues::Several(ladder) => {
                let (name, backend) = ladder.first();
                Queues::One { name: name.to_owned(), backend: backend.clone(), counter: Arc::default() }
            }
        };
        Publisher { queues }
    }

    /// Each queue's name, as a log may show it, and the largest body that it carries, in bytes.
    pub fn limits(&self) -> Vec<(String, usize)> {
        match &self.queues {
            Queues::One { name, backend, .. } => vec![(name.clone(), backend.max_body_bytes())],
            Queues::Several(ladder) => ladder.limits(),
        }
    }
}

impl Backend {
    fn open(config: &QueueConfig) -> Result<Backend, ConfigError> {
        Ok(match &config.url {
            #[cfg(feature = "rabbitmq")]
            QueueUrl::Amqp(_) => Backend::RabbitMq(crate::rabbitmq::Publisher::open(config)?),
            #[cfg(feature = "rabbitmq_http")]
            QueueUrl::RabbitMqHttp(url) => Backend::RabbitMqHttp(crate::rabbitmq_http::Publisher::open(config, url)?),
            #[cfg(feature = "sqs")]
            QueueUrl::Sqs(url) => Backend::Sqs(crate::sqs::Publisher::open(config, url)?),
            #[cfg(feature = "sqlite")]
            QueueUrl::Sqlite(path) => Backend::Sqlite(crate::sqlite::Publisher::open(config, path)?),
            #[allow(unreachable_patterns, reason = "which arm is missing depends on the features")]
            _ => return Err(crate::queue_url::missing_backend()),
        })
    }
}

impl Publish for Backend {
    async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        each_backend!(self, backend => backend.publish(event, deadline).await)
    }

    fn readiness(&self) -> Readiness {
        each_backend!(self, backend => backend.readiness())
    }

    fn max_body_bytes(&self) -> usize {
        each_backend!(self, backend => backend.max_body_bytes())
    }

    async fn close(&self) {
        each_backend!(self, backend => backend.close().await)
    }
}

impl OneOfSeveral for Backend {
    async fn publish_as_one(&self, event: &Event, deadline: Instant, is_last: bool) -> Result<(), PublishError> {
        each_backend!(self, backend => backend.publish_as_one(event, deadline, is_last).await)
    }
}

impl Publish for Publisher {
    async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        match &self.queues {
            Queues::One { backend, counter, .. } => {
                let outcome = backend.publish(event, deadline).await;
                counter.count(outcome.as_ref().err());
                outcome
            }
            Queues::Several(ladder) => ladder.publish(event, deadline).await,
        }
    }

    fn readiness(&self) -> Readiness {
        match &self.queues {
            Queues::One { backend, .. } => backend.readiness(),
            Queues::Several(ladder) => ladder.readiness(),
        }
    }

    fn max_body_bytes(&self) -> usize {
        match &self.queues {
            Queues::One { backend, .. } => backend.max_body_bytes(),
            Queues::Several(ladder) => ladder.max_body_bytes(),
        }
    }

    fn counts(&self) -> Vec<(String, Counts)> {
        match &self.queues {
            Queues::One { name, counter, .. } => vec![(name.clone(), counter.counts())],
            Queues::Several(ladder) => ladder.counts(),
        }
    }

    async fn close(&self) {
        match &self.queues {
            Queues::One { backend, .. } => backend.close().await,
            Queues::Several(ladder) => ladder.close().await,
        }
    }
}
