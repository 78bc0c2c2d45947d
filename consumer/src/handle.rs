//! Watching and steering a running consumer.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use webhook_queue::{ReplayError, Settlement, State};

use crate::error::Error;

/// A hold on a running consumer: cheap to clone, and free to be dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) drain: CancellationToken,
    /// Ends the grace period.
    pub(crate) stop: CancellationToken,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) tally: Arc<Tally>,
}

/// What only the run loop can do, since it owns the subscriber.
pub(crate) enum Command {
    Pause(oneshot::Sender<()>),
    Resume(oneshot::Sender<()>),
    Replay { most: usize, begun: oneshot::Sender<BoxFuture<'static, Result<usize, ReplayError>>> },
}

/// What a consumer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The link to the queue, which prints as `connecting`, `receiving` or `paused`. (Its type is called `QueueState`
    /// here, because `State` is the argument of handlers.)
    pub queue: State,
    /// Whether it is draining, or has stopped.
    pub draining: bool,
    /// Deliveries in the hands of handlers or being settled, now.
    pub running: usize,
    /// Everything since the start.
    pub counts: Counts,
}

/// How deliveries have ended since the consumer started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Acknowledged.
    pub handled: u64,
    /// Sent round again: failed attempts and snoozes.
    pub retried: u64,
    /// Moved to the dead letters.
    pub dead_lettered: u64,
    /// Handed back unbegun: the consumer was draining, or the handler's layers had no room.
    pub released: u64,
    /// Settled too late: somebody else held the event by then, and it came again.
    pub lost_leases: u64,
}

/// What a consumer did until it was drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Deliveries that were still being handled or settled when the grace period was over. Their events come again.
    pub interrupted: usize,
    /// How the deliveries ended.
    pub counts: Counts,
}

impl Handle {
    /// What the consumer is doing. Never waits.
    pub fn health(&self) -> Health {
        let Tallied { running, counts } = *self.tally.0.borrow();
        Health { queue: *self.state.borrow(), draining: self.drain.is_cancelled(), running, counts }
    }

    /// Waits until the consumer's health is as wanted: until so many events are handled, say. Put a timeout around it.
    ///
    /// ```no_run
    /// # async fn example(handle: webhook_consumer::Handle) -> Result<(), webhook_consumer::Error> {
    /// let health = handle.wait_for(|health| health.counts.handled == 3 && health.running == 0).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the consumer has stopped before ([`Error::is_stopped`]).
    pub async fn wait_for(&self, mut wanted: impl FnMut(&Health) -> bool) -> Result<Health, Error> {
        let (mut state, mut tally) = (self.state.clone(), self.tally.0.subscribe());
        loop {
            // What changes after this is seen below.
            state.mark_unchanged();
            tally.mark_unchanged();
            let health = self.health();
            if wanted(&health) {
                return Ok(health);
            }
            let stopped = tokio::select! {
                changed = state.changed() => changed.is_err(),
                _ = tally.changed() => false,
                () = self.drain.cancelled(), if !health.draining => false,
            };
            if stopped {
                let last = self.health();
                return if wanted(&last) { Ok(last) } else { Err(Error::stopped()) };
            }
        }
    }

    /// Stops receiving, and hands back what no handler has begun. Running handlers go on.
    ///
    /// Fails only if the consumer is draining ([`Error::is_stopped`]).
    pub async fn pause(&self) -> Result<(), Error> {
        self.ask(Command::Pause).await
    }

    /// Starts receiving again.
    ///
    /// Fails only if the consumer is draining ([`Error::is_stopped`]).
    pub async fn resume(&self) -> Result<(), Error> {
        self.ask(Command::Resume).await
    }

    /// Moves up to `most` dead letters back to the queue, oldest first, to start afresh. Says how many it moved.
    ///
    /// One that fails again is a dead letter again, and stays one: only what was there when this began is moved, so that
    /// `usize::MAX` means all of that. The consumer goes on with its work meanwhile. Dropping the future ends the replay;
    /// what was moved stays moved.
    ///
    /// A consumer does not know what the dead letters are: look at the queue itself. `webhook-forwarder check` counts them.
    /// RabbitMQ keeps them in `{QUEUE_NAME}.dead`, each with its reason in the header `dead:reason`, SQS in the queue
    /// `{name}-dead`, with the attribute `dead.reason`, SQLite in the table `dead_letters`.
    ///
    /// # Errors
    /// If the queue fails or the consumer is drained meanwhile ([`Error::moved`] says how many were moved), or if it is
    /// draining already ([`Error::is_stopped`]).
    pub async fn replay(&self, most: usize) -> Result<usize, Error> {
        let replay = self.ask(|begun| Command::Replay { most, begun }).await?;
        Ok(replay.await?)
    }

    /// Starts draining: nothing new is begun, running handlers get the grace period. The consumer's own future ends
    /// when it is done. Calling it again changes nothing.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// As [`drain`](Handle::drain), without the grace period or the rest of it: running handlers are interrupted, and
    /// their events come again.
    pub fn stop(&self) {
        self.drain.cancel();
        self.stop.cancel();
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Error::stopped())?;
        answered.await.map_err(|_| Error::stopped())
    }
}

/// The counters behind [`Health`].
#[derive(Debug, Default)]
pub(crate) struct Tally(watch::Sender<Tallied>);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tallied {
    running: usize,
    counts: Counts,
}

/// Counts a delivery as running until it is dropped.
pub(crate) struct Running(Arc<Tally>);

/// Which of the counts.
pub(crate) type Count = fn(&mut Counts) -> &mut u64;

impl Tally {
    pub(crate) fn begin(self: &Arc<Tally>) -> Running {
        self.0.send_modify(|tallied| tallied.running += 1);
        Running(self.clone())
    }

    pub(crate) fn count(&self, count: Count) {
        self.0.send_modify(|tallied| *count(&mut tallied.counts) += 1);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.borrow().counts
    }
}

impl Counts {
    /// The count of deliveries that end like this.
    pub(crate) fn of(settlement: &Settlement) -> Count {
        match settlement {
            Settlement::Ack => |counts| &mut counts.handled,
            Settlement::Retry { .. } => |counts| &mut counts.retried,
            Settlement::DeadLetter(_) => |counts| &mut counts.dead_lettered,
            Settlement::Release => |counts| &mut counts.released,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.send_modify(|tallied| tallied.running -= 1);
    }
}
