//! Taking events off the queue: the promise, and the closed set of backends that keep it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::BoxError;
use crate::config::QueueConfig;
use crate::env::{ConfigError, Problem};
use crate::event::Event;
use crate::queue_url::QueueUrl;

/// Takes events off a queue, at least once each.
///
/// Each sentence here is a test in `queue/tests/contract`, run against every backend.
///
/// Dropping a subscriber gives everything back that was not settled, as a crash of the process would; call
/// [`close`](Subscribe::close) first.
pub trait Subscribe: Send {
    /// Waits for the next delivery.
    ///
    /// * Every event on the queue is returned, again and again, until one of its deliveries is settled with
    ///   [`Ack`](Settlement::Ack) or [`DeadLetter`](Settlement::DeadLetter), or the event outlives `QUEUE_TTL`.
    /// * A delivery belongs to its holder: no other subscriber receives the event while the holder's process and
    ///   its link to the queue live.
    /// * At most `prefetch` deliveries are held at a time; then this waits until one is settled.
    /// * A queue that is away or not there yet makes this wait, never fail; it goes on by itself when the queue is
    ///   back.
    /// * Dropping the future loses nothing.
    /// * Events that were held by a process when it died are not returned here: [`Received::Suspects`] announces
    ///   them.
    fn next(&mut self) -> impl Future<Output = Received> + Send;

    /// Takes one suspect: an event that was held by a process when that process died.
    ///
    /// Call this only while no handler is running, and settle the delivery before the next call.
    ///
    /// * `None` means that none is waiting.
    /// * [`Delivery::crashes`] counts how often a process died *while this event was taken here*, so it blames the
    ///   event itself and never its neighbours.
    fn next_suspect(&mut self) -> impl Future<Output = Option<Delivery>> + Send;

    /// Stops receiving, and hands back what [`next`](Subscribe::next) has not returned yet. Deliveries already
    /// returned stay valid. From here on `next` waits until [`resume`](Subscribe::resume).
    fn pause(&mut self) -> impl Future<Output = ()> + Send;

    /// Starts receiving again.
    fn resume(&mut self) -> impl Future<Output = ()> + Send;

    /// Moves up to `most` dead letters back to the queue, oldest first, as fresh events with their id and
    /// [`received`](Event::received) kept. Says how many it moved.
    ///
    /// * A dead letter leaves its place only when the queue has taken responsibility for it.
    /// * What becomes a dead letter after this has begun stays one: an event that fails again does not go round.
    /// * The future begins when it is first polled, and does not borrow the subscriber, which goes on receiving
    ///   meanwhile. Dropping it ends the replay, and so does closing the subscriber; what was moved stays moved.
    fn replay(&self, most: usize) -> impl Future<Output = Result<usize, ReplayError>> + Send + use<Self>;

    /// What the subscriber is doing, for a health check.
    fn state(&self) -> watch::Receiver<State>;

    /// Pauses, makes sure that every settlement has reached the queue, and closes. Deliveries that are still held
    /// come again.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What [`Subscribe::next`] waited for.
#[derive(Debug)]
pub enum Received {
    /// An event to handle.
    Delivery(Delivery),
    /// Suspects are waiting: fetch them with [`Subscribe::next_suspect`] as soon as no handler is running.
    Suspects,
}

/// One hand-over of one event. It is settled by value, once; dropped unsettled, the event is handed back.
#[derive(Debug)]
pub struct Delivery {
    pub(crate) event: Arc<Event>,
    pub(crate) attempt: u32,
    pub(crate) crashes: u32,
    pub(crate) first_received: SystemTime,
    pub(crate) lease: Lease,
}

/// The backend's hold on a delivery.
#[derive(Debug)]
pub(crate) enum Lease {
    #[cfg(feature = "rabbitmq")]
    RabbitMq(crate::rabbitmq::Lease),
    #[cfg(feature = "sqs")]
    Sqs(crate::sqs::Lease),
    #[cfg(feature = "sqlite")]
    Sqlite(crate::sqlite::Lease),
}

/// How a delivery ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Handled: the event never comes again.
    Ack,
    /// The event comes again, not before this delay, as the next attempt.
    Retry {
        /// How long to wait at least.
        after: Duration,
    },
    /// The event is moved to the dead letters, with the reason.
    DeadLetter(DeadLetter),
    /// The handler was never started: the event comes again at once, as the same attempt.
    Release,
}

/// Why an event is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The reason in one word.
    pub reason: Reason,
    /// What went wrong, in the app's words. The queue keeps the first 4 KiB.
    pub error: String,
    /// The handler that was to handle it.
    pub handler: Option<String>,
}

/// The reason of a dead letter in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `RETRY_MAX_AGE` was reached.
    Retries,
    /// `QUEUE_TTL` was reached.
    Expired,
    /// No handler matches.
    NoHandler,
    /// A typed handler could not read it.
    Undecodable,
    /// It killed the process, more than once.
    Crashed,
    /// The handler said so.
    Handler,
}

/// The event was settled too late: somebody else holds it, or will. Nothing was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease on this delivery was lost; the event comes again")]
pub struct LeaseLost;

/// A replay that could not go on. What had been moved stays moved.
#[derive(Debug, thiserror::Error)]
#[error("the dead letters could not be moved back; {moved} were")]
pub struct ReplayError {
    /// How many were moved before.
    pub moved: usize,
    #[source]
    pub(crate) source: BoxError,
}

impl ReplayError {
    pub(crate) fn closed(moved: usize) -> ReplayError {
        ReplayError { moved, source: "the subscriber was closed".into() }
    }
}

/// What a subscriber is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The queue is away or not there yet; trying again.
    Connecting,
    /// Receiving.
    Receiving,
    /// Paused by the app.
    Paused,
}

impl fmt::Display for State {
    /// In one word: `connecting`, `receiving` or `paused`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Connecting => "connecting",
            State::Receiving => "receiving",
            State::Paused => "paused",
        })
    }
}

impl Delivery {
    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The event, to be kept while the delivery is settled.
    pub fn shared_event(&self) -> Arc<Event> {
        Arc::clone(&self.event)
    }

    /// Which delivery of this event it is, from 1 on. Hand-backs do not count, retries do.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When a consumer first received this event: where the time that retrying may take begins. An event that waited
    /// long for a consumer, or was moved back from the dead letters, has all of it before it.
    pub fn first_received(&self) -> SystemTime {
        self.first_received
    }

    /// How often a process died while it had taken this event as a suspect.
    pub fn crashes(&self) -> u32 {
        self.crashes
    }

    /// Ends the delivery.
    ///
    /// * `Ok` means that the settlement holds as long as the process lives to deliver it; a crash in between leads to
    ///   one more delivery, never to a loss.
    /// * [`Retry`](Settlement::Retry) and [`DeadLetter`](Settlement::DeadLetter) are on the queue before the original
    ///   leaves it. While the queue cannot take them, this waits.
    /// * [`LeaseLost`] means that nothing was settled.
    /// * If the future is dropped before its end, the event is either settled or handed back.
    pub async fn settle(self, settlement: Settlement) -> Result<(), LeaseLost> {
        match self.lease {
            #[cfg(feature = "rabbitmq")]
            Lease::RabbitMq(lease) => lease.settle(settlement).await,
            #[cfg(feature = "sqs")]
            Lease::Sqs(lease) => lease.settle(settlement).await,
            #[cfg(feature = "sqlite")]
            Lease::Sqlite(lease) => lease.settle(settlement).await,
        }
    }
}

impl Reason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Retries => "retries",
            Reason::Expired => "expired",
            Reason::NoHandler => "no-handler",
            Reason::Undecodable => "undecodable",
            Reason::Crashed => "crashed",
            Reason::Handler => "handler",
        }
    }
}

/// The receiving half of the configured queue.
#[derive(Debug)]
pub struct Subscriber {
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    #[cfg(feature = "rabbitmq")]
    RabbitMq(crate::rabbitmq::Subscriber),
    #[cfg(feature = "sqs")]
    Sqs(crate::sqs::Subscriber),
    #[cfg(feature = "sqlite")]
    Sqlite(crate::sqlite::Subscriber),
}

/// Calls the same method on whichever backend is there.
macro_rules! each_backend {
    ($backend_expr:expr, $backend:ident => $call:expr) => {
        match $backend_expr {
            #[cfg(feature = "rabbitmq")]
            Backend::RabbitMq($backend) => $call,
            #[cfg(feature = "sqs")]
            Backend::Sqs($backend) => $call,
            #[cfg(feature = "sqlite")]
            Backend::Sqlite($backend) => $call,
        }
    };
}

impl Subscriber {
    /// Starts to receive from the queue that the configuration names, holding at most `prefetch` events. A queue
    /// that is away is waited for in the background.
    pub fn open(config: &QueueConfig, prefetch: u16) -> Result<Subscriber, ConfigError> {
        let prefetch = prefetch.max(1);
        let backend = match &config.url {
            #[cfg(feature = "rabbitmq")]
            QueueUrl::Amqp(_) => Backend::RabbitMq(crate::rabbitmq::Subscriber::open(config, prefetch)?),
            #[cfg(feature = "sqs")]
            QueueUrl::Sqs(url) => Backend::Sqs(crate::sqs::Subscriber::open(config, url, prefetch)?),
            #[cfg(feature = "sqlite")]
            QueueUrl::Sqlite(path) => Backend::Sqlite(crate::sqlite::Subscriber::open(config, path, prefetch)?),
            QueueUrl::RabbitMqHttp(_) => {
                return Err(not_received(
                    "is an address of the management API, and a consumer reads over AMQP: set it to \
                     amqps://user:password@host/vhost",
                ));
            }
            #[allow(unreachable_patterns, reason = "which arm is missing depends on the features")]
            _ => return Err(crate::queue_url::missing_backend()),
        };
        Ok(Subscriber { backend })
    }
}

fn not_received(message: &str) -> ConfigError {
    ConfigError { problems: vec![Problem { variable: "QUEUE_URL".to_owned(), message: message.to_owned() }] }
}

impl Subscribe for Subscriber {
    async fn next(&mut self) -> Received {
        each_backend!(&mut self.backend, backend => backend.next().await)
    }

    async fn next_suspect(&mut self) -> Option<Delivery> {
        each_backend!(&mut self.backend, backend => backend.next_suspect().await)
    }

    async fn pause(&mut self) {
        each_backend!(&mut self.backend, backend => backend.pause().await)
    }

    async fn resume(&mut self) {
        each_backend!(&mut self.backend, backend => backend.resume().await)
    }

    fn replay(&self, most: usize) -> impl Future<Output = Result<usize, ReplayError>> + Send + use<> {
        let replay: Pin<Box<dyn Future<Output = _> + Send>> =
            each_backend!(&self.backend, backend => Box::pin(backend.replay(most)));
        replay
    }

    fn state(&self) -> watch::Receiver<State> {
        each_backend!(&self.backend, backend => backend.state())
    }

    async fn close(self) {
        each_backend!(self.backend, backend => backend.close().await)
    }
}
