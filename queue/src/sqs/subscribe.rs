//! The receiving half as the app holds it. The work is done by the tasks of a [`Keeper`].

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dead_letters;
use super::deletes::Deletes;
use super::inbox::Inbox;
use super::keeper::{Keeper, Wanted};
use super::leases::Leases;
use super::notes::Notes;
use super::suspicion::Known;
use super::take::Taker;
use crate::config::QueueConfig;
use crate::env::ConfigError;
use crate::subscribe::{Delivery, Received, ReplayError, Settlement, State, Subscribe};

/// Receives from one queue.
#[derive(Debug)]
pub(crate) struct Subscriber {
    keeper: Arc<Keeper>,
    state: watch::Receiver<State>,
    /// Taken out when it is closed.
    receiving: Option<JoinHandle<()>>,
}

impl Subscriber {
    pub(crate) fn open(config: &QueueConfig, url: &str, prefetch: u16) -> Result<Subscriber, ConfigError> {
        let taker = Taker::open(config, url)?;
        let (main, address) = (taker.client.clone(), taker.client.address.clone());
        let (wanted, _) = watch::channel(Wanted::Receive);
        let (state, shown) = watch::channel(State::Connecting);
        let keeper = Arc::new(Keeper {
            dead: main.with(address.dead()),
            notes: Notes::new(Taker { client: main.with(address.suspects()) }),
            deletes: Deletes::start(main),
            taker,
            leases: Leases::default(),
            known: Known::default(),
            inbox: Inbox::default(),
            prefetch: usize::from(prefetch),
            ttl: config.ttl,
            wanted,
            connected: AtomicBool::new(false),
            state,
            tasks: TaskTracker::new(),
            closed: CancellationToken::new(),
            runtime: Handle::current(),
        });
        tracing::info!(queue.name = address.name, "receiving from SQS queue {}", address.name);
        tokio::spawn(Arc::clone(&keeper).extend());
        let receiving = Some(tokio::spawn(Arc::clone(&keeper).receive()));
        Ok(Subscriber { keeper, state: shown, receiving })
    }

    fn want(&self, wanted: Wanted) {
        self.keeper.wanted.send_replace(wanted);
        self.keeper.show();
    }
}

impl Subscribe for Subscriber {
    async fn next(&mut self) -> Received {
        loop {
            if *self.keeper.wanted.borrow() != Wanted::Receive {
                return std::future::pending().await;
            }
            match self.keeper.inbox.take().await {
                Received::Delivery(delivery) if self.keeper.give(&delivery).is_none() => {}
                received => return received,
            }
        }
    }

    async fn next_suspect(&mut self) -> Option<Delivery> {
        self.keeper.next_suspect().await
    }

    async fn pause(&mut self) {
        self.want(Wanted::Pause);
        let mut unseen = JoinSet::new();
        for delivery in self.keeper.inbox.close() {
            unseen.spawn(delivery.settle(Settlement::Release));
        }
        unseen.join_all().await;
    }

    async fn resume(&mut self) {
        self.keeper.inbox.open();
        self.want(Wanted::Receive);
    }

    fn replay(&self, most: usize) -> impl Future<Output = Result<usize, ReplayError>> + Send + use<> {
        dead_letters::replay(Arc::clone(&self.keeper), most)
    }

    fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    async fn close(mut self) {
        if let Some(receiving) = self.receiving.take() {
            // In a task of its own: whoever loses patience with it does not keep it from handing back what is held.
            let closing = tokio::spawn(Arc::clone(&self.keeper).close(receiving));
            // It does not panic.
            let _ = closing.await;
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(receiving) = self.receiving.take() {
            self.keeper.runtime.spawn(Arc::clone(&self.keeper).close(receiving));
        }
    }
}
