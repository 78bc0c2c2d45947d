//! The hold on one delivery, and the ways to let go of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::client::Client;
use super::keeper::{Keeper, PAUSES};
use super::leases::Begun;
use super::message::Outgoing;
use super::suspicion::LetGo;
use super::take::Taken;
use super::visibility::{self, CALL_TIMEOUT, Trouble};
use crate::moment::Moment;
use crate::publish::PublishError;
use crate::subscribe::{self, Delivery, LeaseLost, Settlement};

/// No event waits longer, whatever was asked for: beyond it times cannot be written.
const LONGEST_DELAY: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The right to settle one delivery. Dropped unused, it hands the event back.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `None` once it has been used.
    held: Option<(Arc<Keeper>, Arc<Hold>)>,
    begun: bool,
}

/// One message that was received.
#[derive(Debug)]
pub(super) struct Hold {
    /// Ours, in the order of receiving.
    pub(super) key: u64,
    pub(super) taken: Taken,
    pub(super) attempt: u32,
    pub(super) first_received: SystemTime,
    pub(super) suspect: bool,
    pub(super) received: Moment,
    /// Whether an app was given it, now or before.
    pub(super) given: AtomicBool,
    /// How often somebody had died of it, once it is run as a suspect.
    pub(super) crashes: OnceLock<u32>,
}

impl Hold {
    /// Its body is held twice: as it came, and as an event.
    pub(super) fn bytes(&self) -> usize {
        self.taken.body.len() * 2
    }

    /// When it was first received to be handled, if it ever was.
    pub(super) fn begun(&self) -> Option<SystemTime> {
        self.given.load(Ordering::Relaxed).then_some(self.first_received)
    }
}

impl Lease {
    pub(super) fn new(keeper: Arc<Keeper>, hold: Arc<Hold>) -> Lease {
        Lease { held: Some((keeper, hold)), begun: false }
    }

    /// One that holds nothing any more.
    #[cfg(test)]
    pub(super) fn used() -> Lease {
        Lease { held: None, begun: false }
    }

    pub(crate) async fn settle(mut self, settlement: Settlement) -> Result<(), LeaseLost> {
        // The hold stays where it is meanwhile: should this future be dropped before the end, the event is handed back.
        let Some((keeper, hold)) = self.held.clone() else { return Err(LeaseLost) };
        let _closing_waits = keeper.tasks.token();
        let outcome = match keeper.leases.begin(hold.key) {
            Begun::ByUs => {
                self.begun = true;
                keeper.settle(&hold, &settlement).await
            }
            Begun::Lost => Err(LeaseLost),
            Begun::ByOthers => {
                self.held = None;
                return Err(LeaseLost);
            }
        };
        self.held = None;
        keeper.done_with(&hold, outcome.is_ok().then_some(&settlement));
        outcome
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((keeper, hold)) = self.held.take()
            && (self.begun || keeper.leases.begin(hold.key) != Begun::ByOthers)
        {
            keeper.hand_back(hold);
        }
    }
}

impl Keeper {
    /// The hold of a delivery that the app is now given; none if its lease was lost while it waited.
    pub(super) fn give(&self, delivery: &Delivery) -> Option<Arc<Hold>> {
        let hold = match &delivery.lease {
            subscribe::Lease::Sqs(lease) => lease.held.as_ref().map(|(_, hold)| Arc::clone(hold)),
            #[allow(unreachable_patterns, reason = "there may be no other backend")]
            _ => None,
        };
        let hold = hold.filter(|hold| self.leases.is_held(hold.key))?;
        hold.given.store(true, Ordering::Relaxed);
        Some(hold)
    }

    async fn settle(&self, hold: &Hold, settlement: &Settlement) -> Result<(), LeaseLost> {
        match settlement {
            Settlement::Ack => self.delete(hold).await,
            Settlement::Retry { after } => self.retry(hold, (*after).min(LONGEST_DELAY)).await,
            Settlement::DeadLetter(letter) => {
                let message = Outgoing::dead(&hold.taken, hold.attempt, hold.first_received, letter);
                self.move_to(hold, &self.dead, &message).await
            }
            Settlement::Release => self.release(hold).await,
        }
    }

    /// Deletes the message. While SQS does not answer, this waits.
    async fn delete(&self, hold: &Hold) -> Result<(), LeaseLost> {
        let mut pause = PAUSES.0;
        while self.leases.is_held(hold.key) {
            match self.deletes.delete(&hold.taken.handle).await {
                Ok(()) if self.leases.is_held(hold.key) => return Ok(()),
                Ok(()) | Err(Trouble::Stale) => break,
                Err(Trouble::Failed(error)) => {
                    tracing::warn!(%error, "an event cannot be deleted yet; trying again");
                    pause = wait(pause).await;
                }
            }
        }
        Err(LeaseLost)
    }

    /// Puts `message` on another place, and only then deletes the original. A crash in between makes a duplicate.
    pub(super) async fn move_to(&self, hold: &Hold, to: &Client, message: &Outgoing) -> Result<(), LeaseLost> {
        self.move_unless(hold, to, message, |_| false).await.map(|_| ())
    }

    /// Puts a copy in the place of the message, if the queue can have one. Says whether it did: a copy may be longer than
    /// somebody allows, and whoever may receive may not be allowed to send.
    pub(super) async fn replace(&self, hold: &Hold, copy: &Outgoing) -> Result<bool, LeaseLost> {
        if self.is_fifo() || !copy.fits() {
            return Ok(false);
        }
        let no = |error: &PublishError| matches!(error, PublishError::Refused(_) | PublishError::Blocked(_));
        self.move_unless(hold, &self.taker.client, copy, no).await
    }

    /// Says whether it is moved. While the place does not take it, this waits.
    async fn move_unless(
        &self,
        hold: &Hold,
        to: &Client,
        message: &Outgoing,
        is_final: impl Fn(&PublishError) -> bool,
    ) -> Result<bool, LeaseLost> {
        let (name, mut pause) = (&to.address.name, PAUSES.0);
        while self.leases.is_held(hold.key) {
            let error = match message.put(to).await {
                Ok(()) => return self.delete(hold).await.map(|()| true),
                Err(error) => error,
            };
            if is_final(&error) {
                tracing::warn!(queue.name = name, %error, "an event cannot be put on {name}; it is hidden there instead");
                return Ok(false);
            }
            tracing::warn!(queue.name = name, %error, "an event cannot be put on {name} yet; trying again");
            self.make_if_missing(to, &error).await;
            pause = wait(pause).await;
        }
        Err(LeaseLost)
    }

    /// A standard queue gets a copy that says which attempt comes next, so that every consumer knows. On a FIFO queue a
    /// copy would come behind the rest of its group: there the message itself is hidden, and its group with it.
    async fn retry(&self, hold: &Hold, after: Duration) -> Result<(), LeaseLost> {
        let copy = Outgoing::retry(&hold.taken, hold.attempt, hold.first_received, after);
        if self.replace(hold, &copy).await? {
            return Ok(());
        }
        let (attempt, due) = (hold.attempt.saturating_add(1), Some(SystemTime::now() + after));
        self.hide(hold, after, LetGo { attempt, due, suspect: false, ..LetGo::of(hold) }).await
    }

    /// Puts it back as it is. To another consumer a message that was received before looks as if its holder had crashed, so
    /// it gets a copy; a suspect is to look like that, and stays.
    async fn release(&self, hold: &Hold) -> Result<(), LeaseLost> {
        if !self.leases.is_held(hold.key) {
            return Err(LeaseLost);
        }
        let copy = Outgoing::again(&hold.taken);
        if !self.is_fifo() && !hold.suspect && copy.fits() {
            match copy.put(&self.taker.client).await {
                Ok(()) => return self.delete(hold).await,
                Err(error) => tracing::debug!(%error, "an event cannot be put back; it is made visible instead"),
            }
        }
        self.hide(hold, Duration::ZERO, LetGo::of(hold)).await
    }

    /// Ends the lease on purpose: the message is visible again after this time. No extension is under way meanwhile, and
    /// none follows.
    pub(super) async fn hide(&self, hold: &Hold, hidden: Duration, known: LetGo) -> Result<(), LeaseLost> {
        let mut pause = PAUSES.0;
        // Before it is visible: it may come again before we are told that it is.
        self.known.note(&hold.taken.id, known);
        while self.leases.is_held(hold.key) {
            let beat = self.leases.beat.read().await;
            let (held, deadline) = (hold.received.elapsed(), Instant::now() + CALL_TIMEOUT);
            match visibility::change(&self.taker.client, &hold.taken.handle, hidden, held, deadline).await {
                Ok(()) => {
                    self.leases.forget(hold.key);
                    return Ok(());
                }
                Err(Trouble::Stale) => break,
                Err(Trouble::Failed(error)) => {
                    drop(beat);
                    tracing::debug!(%error, "an event cannot be made visible yet; trying again");
                    pause = wait(pause).await;
                }
            }
        }
        Err(LeaseLost)
    }

    /// Hands an event back that nobody settles any more, in the background.
    pub(super) fn hand_back(self: &Arc<Keeper>, hold: Arc<Hold>) {
        let keeper = Arc::clone(self);
        self.tasks.spawn_on(
            async move {
                let released = keeper.release(&hold).await;
                keeper.done_with(&hold, released.is_ok().then_some(&Settlement::Release));
            },
            &self.runtime,
        );
    }

    /// Puts everything in order after a delivery has ended; `None` if its lease was lost.
    pub(super) fn done_with(self: &Arc<Keeper>, hold: &Arc<Hold>, how: Option<&Settlement>) {
        self.leases.forget(hold.key);
        if how.is_none() {
            self.known.note(&hold.taken.id, LetGo::of(hold));
        }
        let is_gone = matches!(how, Some(Settlement::Ack | Settlement::DeadLetter(_)));
        if let Some(group) = self.group_of(hold) {
            // What is behind an event that comes again is handed back, so that it comes after it.
            drop(self.inbox.end_turn(group, hold.key, is_gone));
        }
        if let Some(crashes) = hold.crashes.get().copied() {
            let is_suspect_still = matches!(how, None | Some(Settlement::Release));
            // A copy would have another id, and no note.
            let may_come_again = !is_gone;
            self.notes.survived(&hold.taken.id, if is_suspect_still { crashes } else { 0 }, may_come_again);
            if may_come_again {
                self.sweep();
            }
        }
    }
}

/// Waits, and says how long to wait next time.
async fn wait(pause: Duration) -> Duration {
    tokio::time::sleep(pause).await;
    (pause * 2).min(PAUSES.1)
}
