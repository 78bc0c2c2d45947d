//! Putting an event on the queue: the promise, and the closed set of backends that keep it.

use std::future::Future;

use tokio::time::Instant;

use crate::BoxError;
use crate::config::{QueueConfig, QueueUrl};
use crate::env::ConfigError;
use crate::event::Event;

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
    ///   again must send the same id.
    /// * It returns by `deadline`, whatever the queue does.
    /// * What a subscriber receives equals what was published, field by field and byte for byte;
    ///   [`received`](Event::received) at least to the second.
    /// * Two publishes are two events, even if they are equal.
    /// * It may be called from any number of tasks at once, and the failure of one call fails no other.
    /// * A dropped future leaves the event either on the queue or not, and affects no other call.
    /// * After a failure the same publisher works again as soon as the queue does.
    fn publish(&self, event: &Event, deadline: Instant) -> impl Future<Output = Result<(), PublishError>> + Send;

    /// Whether a publish would probably succeed, from what is already known. Never waits and never connects.
    fn readiness(&self) -> Readiness;

    /// The largest body that the queue carries, in bytes.
    fn max_body_bytes(&self) -> usize;

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
    /// The broker takes nothing from anybody at the moment (memory or disk alarm). The event may be on the queue.
    #[error("the queue accepts nothing at the moment: {0}")]
    Blocked(String),
    /// The queue cannot carry a body of this size.
    #[error("the body is larger than the {limit} bytes that the queue carries")]
    TooLarge {
        /// The most it carries.
        limit: usize,
    },
}

/// What a publisher knows about its queue without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The last word of the queue was good.
    Ready,
    /// It was not, for this reason.
    NotReady(String),
}

/// The publishing half of the configured queue.
#[derive(Clone, Debug)]
pub struct Publisher {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    #[cfg(feature = "rabbitmq")]
    RabbitMq(crate::rabbitmq::Publisher),
    #[cfg(feature = "sqlite")]
    Sqlite(crate::sqlite::Publisher),
}

/// Calls the same method on whichever backend is there.
macro_rules! each_backend {
    ($self:expr, $backend:ident => $call:expr) => {
        match &$self.backend {
            #[cfg(feature = "rabbitmq")]
            Backend::RabbitMq($backend) => $call,
            #[cfg(feature = "sqlite")]
            Backend::Sqlite($backend) => $call,
        }
    };
}

impl Publisher {
    /// Opens the queue that the configuration names. A SQLite file is made if need be; RabbitMQ is connected to in
    /// the background, so that a broker that is away does not keep a forwarder from starting.
    pub fn open(config: &QueueConfig) -> Result<Publisher, ConfigError> {
        let backend = match &config.url {
            #[cfg(feature = "rabbitmq")]
            QueueUrl::Amqp(_) => Backend::RabbitMq(crate::rabbitmq::Publisher::open(config)?),
            #[cfg(feature = "sqlite")]
            QueueUrl::Sqlite(path) => Backend::Sqlite(crate::sqlite::Publisher::open(config, path)?),
            #[allow(unreachable_patterns, reason = "which arm is missing depends on the features")]
            _ => return Err(crate::config::missing_backend()),
        };
        Ok(Publisher { backend })
    }
}

impl Publish for Publisher {
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
