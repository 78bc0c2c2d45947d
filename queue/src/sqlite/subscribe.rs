//! The receiving half.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::keeper::{Command, Keeper, Replay, Work};
use super::pass::Pass;
use super::store::{self, Store};
use super::wake::Waker;
use crate::{ConfigError, Delivery, QueueConfig, Received, ReplayError, State, Subscribe};

/// How long closing waits for a file that does not answer.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Receives from one file. The work is done by a [`Keeper`] on its own thread.
#[derive(Debug)]
pub(crate) struct Subscriber {
    keeper: Sender<Command>,
    deliveries: mpsc::Receiver<Delivery>,
    suspects: Arc<Notify>,
    state: watch::Receiver<State>,
    paused: bool,
}

impl Subscriber {
    pub(crate) fn open(config: &QueueConfig, path: &Path, prefetch: u16) -> Result<Subscriber, ConfigError> {
        Subscriber::start(path, prefetch, config.ttl, None)
    }

    /// For a drain. It makes no dead letters of what waited for long: that was not for want of a consumer.
    pub(super) fn for_pass(path: &Path, prefetch: u16, pass: &Pass) -> Result<Subscriber, ConfigError> {
        Subscriber::start(path, prefetch, Duration::MAX, Some(pass.clone()))
    }

    fn start(path: &Path, prefetch: u16, ttl: Duration, pass: Option<Pass>) -> Result<Subscriber, ConfigError> {
        let path = store::checked_path(path)?;
        match Store::open(&path, None) {
            Err(error) if error.is_permanent() => return Err(store::unusable(&path, &error)),
            // Anything else may pass; the keeper tries again.
            _ => tracing::info!(path = %path.display(), "receiving from a SQLite file"),
        }
        let (link, commands) = channel();
        let prefetch = usize::from(prefetch);
        let (deliveries, buffer) = mpsc::channel(prefetch);
        let (state, shown) = watch::channel(State::Connecting);
        let suspects = Arc::new(Notify::new());
        let subscriber = Subscriber {
            keeper: link.clone(),
            deliveries: buffer,
            suspects: Arc::clone(&suspects),
            state: shown,
            paused: false,
        };
        let waker = Waker::register(&path, link.clone());
        let work = Work::default();
        let keeper = Keeper { path, prefetch, ttl, pass, commands, link, waker, deliveries, suspects, state, work };
        std::thread::Builder::new()
            .name("webhook-queue-keeper".to_owned())
            .spawn(move || keeper.run())
            .map_err(store::no_thread)?;
        Ok(subscriber)
    }

    /// To be called after [`Pass::start_over`].
    pub(super) fn look_again(&self) {
        // A keeper that has ended has nothing to look at.
        let _ = self.keeper.send(Command::Look);
    }

    /// Asks the keeper for something. `None`: it has ended.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.keeper.send(command(answer)).ok()?;
        answered.await.ok()
    }
}

impl Subscribe for Subscriber {
    async fn next(&mut self) -> Received {
        if self.paused {
            return std::future::pending().await;
        }
        tokio::select! {
            biased;
            () = self.suspects.notified() => Received::Suspects,
            delivery = self.deliveries.recv() => match delivery {
                Some(delivery) => Received::Delivery(delivery),
                // The keeper ends only when it is closed.
                None => std::future::pending().await,
            },
        }
    }

    async fn next_suspect(&mut self) -> Option<Delivery> {
        self.ask(Command::TakeSuspect).await.flatten()
    }

    async fn pause(&mut self) {
        self.paused = true;
        self.ask(Command::Pause).await;
        while let Ok(delivery) = self.deliveries.try_recv() {
            drop(delivery);
        }
    }

    async fn resume(&mut self) {
        self.paused = false;
        // A keeper that has ended has nothing to resume.
        let _ = self.keeper.send(Command::Resume);
    }

    fn replay(&self, most: usize) -> impl Future<Output = Result<usize, ReplayError>> + Send + use<> {
        let keeper = self.keeper.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            // A keeper that has ended drops the answer, too.
            let _ = keeper.send(Command::Replay(Replay::new(most, answer)));
            answered.await.unwrap_or_else(|_| Err(ReplayError::closed(0)))
        }
    }

    fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    async fn close(mut self) {
        let closed = async {
            self.pause().await;
            self.ask(Command::Close).await
        };
        if tokio::time::timeout(CLOSE_WAIT, closed).await.is_err() {
            tracing::warn!("the queue's file did not answer; what is held comes again when its leases lapse");
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // A keeper that was closed before has gone.
        let _ = self.keeper.send(Command::Close(oneshot::channel().0));
    }
}
