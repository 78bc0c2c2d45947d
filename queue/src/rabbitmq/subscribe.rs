//! The receiving half as the app holds it. The work is done by the supervisor, in a task of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};

use super::inbox::Inbox;
use super::supervisor;
use crate::config::QueueConfig;
use crate::env::ConfigError;
use crate::subscribe::{Delivery, Lease, Received, ReplayError, Settlement, State, Subscribe};

/// What the app holds.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(super) inbox: Arc<Inbox>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) state: watch::Receiver<State>,
    /// Whether suspects were announced and have not been asked for since.
    pub(super) announced: Arc<AtomicBool>,
}

/// What the app asks of the supervisor.
pub(super) enum Command {
    Pause(oneshot::Sender<()>),
    Resume(oneshot::Sender<()>),
    Suspect(oneshot::Sender<Option<Delivery>>),
    Replay(usize, oneshot::Sender<Result<usize, ReplayError>>),
    Close(oneshot::Sender<()>),
}

impl Subscriber {
    pub(crate) fn open(config: &QueueConfig, prefetch: u16) -> Result<Subscriber, ConfigError> {
        supervisor::start(config, prefetch)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.commands.send(command(sender)).await.ok()?;
        receiver.await.ok()
    }
}

impl Subscribe for Subscriber {
    async fn next(&mut self) -> Received {
        loop {
            match self.inbox.take().await {
                Received::Delivery(delivery) if is_lost(&delivery) => {}
                received => return received,
            }
        }
    }

    async fn next_suspect(&mut self) -> Option<Delivery> {
        self.announced.store(false, Ordering::Release);
        self.ask(Command::Suspect).await.flatten()
    }

    async fn pause(&mut self) {
        self.ask(Command::Pause).await;
        let mut unseen = Vec::new();
        while let Some(received) = self.inbox.try_take() {
            match received {
                Received::Delivery(delivery) => unseen.push(delivery.settle(Settlement::Release)),
                Received::Suspects => self.announced.store(false, Ordering::Release),
            }
        }
        join_all(unseen).await;
    }

    async fn resume(&mut self) {
        self.ask(Command::Resume).await;
    }

    fn replay(&self, most: usize) -> impl Future<Output = Result<usize, ReplayError>> + Send + use<> {
        // Weak: a future that nobody polls must not keep a dropped subscriber's connection open.
        let commands = self.commands.downgrade();
        async move {
            let (reply, answer) = oneshot::channel();
            if let Some(commands) = commands.upgrade() {
                // A supervisor that has ended drops the reply, too.
                _ = commands.send(Command::Replay(most, reply)).await;
            }
            answer.await.unwrap_or_else(|_| Err(ReplayError::closed(0)))
        }
    }

    fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    async fn close(mut self) {
        self.pause().await;
        self.ask(Command::Close).await;
    }
}

/// Whether the connection that it came over is gone.
pub(super) fn is_lost(delivery: &Delivery) -> bool {
    match &delivery.lease {
        Lease::RabbitMq(lease) => lease.is_lost(),
        #[cfg(any(feature = "sqs", feature = "sqlite"))]
        _ => false,
    }
}
