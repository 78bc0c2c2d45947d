//! The run loop: it owns the subscriber, and every running delivery is a task of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::sync::{OwnedRwLockWriteGuard, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use webhook_queue::{Delivery, Received, Settlement, Subscribe, Subscriber};

use crate::call::Call;
use crate::dispatch::{Closing, Dispatcher};
use crate::handle::{Command, Counts, Summary, Tally};
use crate::router::Floor;

/// How long aborting may take, and then closing. Together with the default grace it stays within the half minute that
/// most platforms leave between SIGTERM and SIGKILL.
const ABORT_TIMEOUT: Duration = Duration::from_millis(500);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a suspect stays alone while it is settled: if the process died meanwhile, that would count as its doing.
const SETTLED_ALONE: Duration = Duration::from_secs(2);

/// A consumer at work.
pub(crate) struct Run {
    pub(crate) subscriber: Subscriber,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) floor: Floor,
    /// One permit per running handler. It is kept while the delivery is settled, so that a queue that cannot take a
    /// retry slows the intake down.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) drain: CancellationToken,
    /// Ends the grace period.
    pub(crate) stop: CancellationToken,
    pub(crate) grace: Duration,
    pub(crate) tally: Arc<Tally>,
    /// Whether suspects wait to be run, each of them alone.
    pub(crate) suspects: bool,
    /// The last one that was begun.
    pub(crate) suspect: Option<AbortHandle>,
    pub(crate) paused: bool,
}

impl Run {
    /// Works until told to drain, by its handle or by `drain_on`.
    pub(crate) async fn until_drained(mut self, drain_on: impl Future<Output = ()>) -> Summary {
        let (drain, mut drain_on) = (self.drain.clone(), pin!(drain_on));
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => break,
                () = &mut drain_on => break,
                () = self.step() => {}
            }
        }
        self.drain().await
    }

    /// Waits for the next thing to do, and does it. Dropped, it leaves nothing half done.
    async fn step(&mut self) {
        let alone =
            async { (permit(&self.permits).await, alone(self.floor.clone(), self.dispatcher.handler_timeout).await) };
        let received = async { (permit(&self.permits).await, self.subscriber.next().await) };
        let is_settled = self.suspect.as_ref().is_none_or(AbortHandle::is_finished);
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => self.obey(command).await,
            Some(ended) = self.tasks.join_next() => note(ended),
            (permit, alone) = alone, if self.suspects && !self.paused && is_settled => self.begin_suspect(permit, alone).await,
            (permit, received) = received, if !self.suspects => match received {
                Received::Delivery(delivery) => _ = self.begin(permit, delivery, None),
                Received::Suspects => self.suspects = true,
            },
        }
    }

    async fn begin_suspect(&mut self, permit: OwnedSemaphorePermit, alone: OwnedRwLockWriteGuard<()>) {
        match self.subscriber.next_suspect().await {
            Some(delivery) => self.suspect = Some(self.begin(permit, delivery, Some(alone))),
            None => self.suspects = false,
        }
    }

    /// Begins when its turn has come: where another consumer of this router runs a suspect, after that.
    fn begin(
        &mut self,
        permit: OwnedSemaphorePermit,
        delivery: Delivery,
        alone: Option<OwnedRwLockWriteGuard<()>>,
    ) -> AbortHandle {
        let (dispatcher, tally, drain) = (self.dispatcher.clone(), self.tally.clone(), self.drain.clone());
        let (floor, running) = (self.floor.clone(), tally.begin());
        self.tasks.spawn(async move {
            let shared = async { if alone.is_none() { Some(floor.read().await) } else { None } };
            let shared = tokio::select! {
                biased;
                // It will not be begun any more.
                () = drain.cancelled() => None,
                shared = shared => shared,
            };
            let settlement = handle(&dispatcher, &delivery, &drain).await;
            // A settlement may take as long as the queue is away, and is nothing that a suspect must wait for.
            drop(shared);
            let mut settling = pin!(settle(delivery, settlement, &tally));
            if alone.is_none() || timeout(SETTLED_ALONE, &mut settling).await.is_err() {
                drop(alone);
                settling.await;
            }
            drop((permit, running));
        })
    }

    async fn obey(&mut self, command: Command) {
        // Whoever asked may have gone: then nobody misses the answer.
        match command {
            Command::Pause(done) => {
                self.subscriber.pause().await;
                self.paused = true;
                let _ = done.send(());
            }
            Command::Resume(done) => {
                self.subscriber.resume().await;
                self.paused = false;
                let _ = done.send(());
            }
            Command::Replay { most, begun } => {
                let _ = begun.send(self.subscriber.replay(most).boxed());
            }
        }
    }

    /// Hands back what has not begun, gives the running handlers their grace, and closes.
    async fn drain(mut self) -> Summary {
        self.drain.cancel();
        self.commands.close();
        let deadline = Instant::now() + self.grace;
        let running = self.tasks.len();
        tracing::info!(running, grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX), "draining");
        let finish = async {
            self.subscriber.pause().await;
            while let Some(ended) = self.tasks.join_next().await {
                note(ended);
            }
        };
        tokio::select! {
            _ = timeout_at(deadline, finish) => {}
            () = self.stop.cancelled() => {}
        }
        let interrupted = self.interrupt().await;
        if timeout(CLOSE_TIMEOUT, self.subscriber.close()).await.is_err() {
            tracing::warn!("the queue did not close in time; what was not settled comes again");
        }
        let summary = Summary { interrupted, counts: self.tally.counts() };
        tracing::info!(interrupted, handled = summary.counts.handled, "drained");
        summary
    }

    /// Aborts what still runs. Says how many handlers that were. One that blocks its thread cannot be aborted and is left
    /// behind.
    async fn interrupt(&mut self) -> usize {
        self.tasks.abort_all();
        let mut interrupted = 0;
        let aborted = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Err(error) if error.is_cancelled() => interrupted += 1,
                    ended => note(ended),
                }
            }
        };
        let _ = timeout(ABORT_TIMEOUT, aborted).await;
        interrupted += self.tasks.len();
        if interrupted > 0 {
            tracing::warn!(interrupted, "handlers were interrupted; their events come again");
        }
        interrupted
    }
}

/// Waits until one more handler may run.
async fn permit(permits: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match permits.clone().acquire_owned().await {
        Ok(permit) => permit,
        // Never, as it is never closed: without a permit there is nothing to receive for.
        Err(_) => std::future::pending().await,
    }
}

/// Waits until no handler is running, here or in another consumer of this router, and keeps it so.
async fn alone(floor: Floor, patience: Duration) -> OwnedRwLockWriteGuard<()> {
    let mut alone = pin!(floor.write_owned());
    if let Ok(alone) = timeout(patience, &mut alone).await {
        return alone;
    }
    tracing::warn!(
        "an event that is to run alone still waits for handlers, and all others for it: does one block its thread?"
    );
    alone.await
}

/// Handles one delivery, and says how it is to end.
async fn handle(dispatcher: &Dispatcher, delivery: &Delivery, drain: &CancellationToken) -> Settlement {
    let call = Call::new(delivery.shared_event(), delivery.attempt());
    let age = || SystemTime::now().duration_since(delivery.first_received()).unwrap_or_default();
    dispatcher.dispatch(call, delivery.crashes(), age, Closing::Drain(drain)).await
}

async fn settle(delivery: Delivery, settlement: Settlement, tally: &Tally) {
    let count = Counts::of(&settlement);
    let id = delivery.event().id.clone();
    match delivery.settle(settlement).await {
        Ok(()) => tally.count(count),
        Err(error) => {
            tally.count(|counts| &mut counts.lost_leases);
            tracing::warn!(event.id = id, "{error}");
        }
    }
}

/// A handler's panic ends in a settlement, so a task that failed is our own mistake. Its event comes again.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a delivery was dropped by mistake and comes again: {error}");
    }
}
