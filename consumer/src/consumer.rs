//! The consumer: configured, then run.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use webhook_queue::{ConfigError, Env, QueueConfig, Subscribe, Subscriber};

use crate::config::ConsumerConfig;
use crate::dispatch::{Dispatcher, Unhandled};
use crate::error::Error;
use crate::handle::{Handle, Summary, Tally};
use crate::router::Router;
use crate::run::Run;
use crate::signals::Signals;

/// Commands that may wait for the run loop.
const COMMANDS: usize = 8;

/// Takes events off the queue and hands them to a [`Router`]'s handlers.
pub struct Consumer {
    pub(crate) config: ConsumerConfig,
    drain_on: Option<DrainOn>,
}

impl Consumer {
    /// A consumer as the process's environment describes it: `QUEUE_*`, `CONSUMER_*` and `RETRY_MAX_AGE`.
    ///
    /// # Errors
    /// If a variable is wrong, missing or unknown; the error's source names all of them ([`Error::is_config`]).
    pub fn from_env() -> Result<Consumer, Error> {
        Consumer::with_env(Env::from_process())
    }

    /// As [`from_env`](Consumer::from_env), from an environment made by hand.
    pub fn with_env(env: Env) -> Result<Consumer, Error> {
        Ok(Consumer { config: ConsumerConfig::from_env(env)?, drain_on: None })
    }

    /// A consumer of this queue, with every other setting at its default.
    pub fn new(queue: QueueConfig) -> Consumer {
        Consumer { config: ConsumerConfig::new(queue), drain_on: None }
    }

    /// How many handlers run at once (`CONSUMER_CONCURRENCY`, 32).
    #[must_use]
    pub fn concurrency(mut self, handlers: usize) -> Consumer {
        self.config.concurrency = handlers;
        self
    }

    /// How many events are held at once, running ones included (`CONSUMER_PREFETCH`, 200). Not less than the
    /// concurrency.
    #[must_use]
    pub fn prefetch(mut self, events: u16) -> Consumer {
        self.config.prefetch = events;
        self
    }

    /// How long running handlers may go on once draining has begun (`CONSUMER_GRACE`, 25 s).
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Consumer {
        self.config.grace = grace;
        self
    }

    /// How long after a consumer first received an event retrying ends (`RETRY_MAX_AGE`, 24 h).
    #[must_use]
    pub fn retry_max_age(mut self, age: Duration) -> Consumer {
        self.config.retry_max_age = age;
        self
    }

    /// How long one run of a handler may take (5 minutes). Then its future is dropped and the attempt has failed. Before
    /// that, its layers may make it wait as long for its turn; then the event is handed back.
    ///
    /// With RabbitMQ keep it well below the broker's acknowledgement timeout, half an hour by default.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Consumer {
        self.config.handler_timeout = timeout;
        self
    }

    /// What becomes of an event for which no handler matches (dead-lettered).
    #[must_use]
    pub fn unhandled(mut self, unhandled: Unhandled) -> Consumer {
        self.config.unhandled = unhandled;
        self
    }

    /// Drains when this future ends. [`run`](Consumer::run) then listens to no signals.
    #[must_use]
    pub fn drain_on(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Consumer {
        self.drain_on = Some(DrainOn::Future(shutdown.boxed()));
        self
    }

    /// Drains on SIGTERM or SIGINT (elsewhere than on Unix: Ctrl-C). A second signal stops at once, without the grace
    /// period. [`run`](Consumer::run) does so unless told otherwise; this is for [`start`](Consumer::start).
    ///
    /// From the start on these signals end the process no more by themselves.
    #[must_use]
    pub fn drain_on_signals(mut self) -> Consumer {
        self.drain_on = Some(DrainOn::Signals);
        self
    }

    /// Runs until it is drained: by SIGTERM or SIGINT ([`drain_on_signals`](Consumer::drain_on_signals)), or by the future
    /// given to [`drain_on`](Consumer::drain_on).
    ///
    /// A queue that is away is waited for, so this returns only when drained. Dropping the future is like a crash.
    ///
    /// # Errors
    /// Before anything is consumed: if a setting ([`Error::is_config`]) or a pattern ([`Error::is_router`]) is wrong.
    pub async fn run(mut self, router: Router) -> Result<Summary, Error> {
        self.drain_on.get_or_insert(DrainOn::Signals);
        let (_, consumer) = self.prepare(router)?;
        Ok(consumer.await)
    }

    /// Starts a consumer beside the app's other work, in a task of its own. It is drained by [`Handle::drain`], or by what
    /// [`drain_on_signals`](Consumer::drain_on_signals) or [`drain_on`](Consumer::drain_on) say; the task ends when that
    /// is done.
    ///
    /// Dropping the task's `JoinHandle` lets the consumer go on; aborting the task is like a crash.
    ///
    /// # Errors
    /// As [`run`](Consumer::run).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self, router: Router) -> Result<(Handle, JoinHandle<Summary>), Error> {
        let (handle, consumer) = self.prepare(router)?;
        Ok((handle, tokio::spawn(consumer)))
    }

    /// The consumer, as a future.
    fn prepare(self, router: Router) -> Result<(Handle, impl Future<Output = Summary> + Send + use<>), Error> {
        let ConsumerConfig { queue, concurrency, prefetch, grace, retry_max_age, handler_timeout, unhandled } = {
            self.config.check().map_err(|problem| ConfigError { problems: vec![problem] })?;
            self.config
        };
        let floor = router.floor();
        let dispatcher = Dispatcher { routes: router.build()?, unhandled, retry_max_age, handler_timeout };
        let (drain_on, signals) = match self.drain_on {
            None => (std::future::pending().boxed(), None),
            Some(DrainOn::Future(future)) => (future, None),
            Some(DrainOn::Signals) => {
                (std::future::pending().boxed(), Some(Signals::listen().map_err(Error::signals)?))
            }
        };
        let subscriber = Subscriber::open(&queue, prefetch)?;
        let (commands, asked) = mpsc::channel(COMMANDS);
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let tally = Arc::new(Tally::default());
        let state = subscriber.state();
        let handle = Handle { commands, drain: drain.clone(), stop: stop.clone(), state, tally: tally.clone() };
        let run = Run {
            subscriber,
            dispatcher: Arc::new(dispatcher),
            floor,
            permits: Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS))),
            tasks: JoinSet::new(),
            commands: asked,
            drain,
            stop,
            grace,
            tally,
            suspects: false,
            suspect: None,
            paused: false,
        };
        let signalled = follow(signals, handle.clone());
        let consumer = async {
            tokio::select! {
                summary = run.until_drained(drain_on) => summary,
                never = signalled => match never {},
            }
        };
        Ok((handle, consumer))
    }
}

/// When to drain without being asked by a [`Handle`].
enum DrainOn {
    Future(BoxFuture<'static, ()>),
    Signals,
}

/// Drains on the first signal and stops on the second.
async fn follow(signals: Option<Signals>, handle: Handle) -> Infallible {
    if let Some(mut signals) = signals {
        signals.next().await;
        tracing::info!("draining on a signal; a second one stops at once");
        handle.drain();
        signals.next().await;
        handle.stop();
    }
    std::future::pending().await
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("config", &self.config).finish_non_exhaustive()
    }
}
