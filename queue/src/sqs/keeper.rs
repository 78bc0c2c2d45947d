//! What works behind a subscriber: one task receives, one keeps the leases of everything that is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::deletes::Deletes;
use super::inbox::Inbox;
use super::lease::Hold;
use super::leases::{Begun, LEASE, Leases};
use super::notes::Notes;
use super::suspicion::{Known, LetGo};
use super::take::{BATCH, Taker};
use super::{admin, visibility};
use crate::moment::Moment;
use crate::publish::PublishError;
use crate::subscribe::State;

/// How long an empty queue is asked for messages, and so how long closing may take: a question that is given up may
/// still be answered, with messages that nobody then holds.
const WAIT: Duration = Duration::from_secs(2);
/// What is left between two questions if the queue does not wait as it was asked to.
const IDLE: Duration = Duration::from_millis(200);
/// How often the leases of everything held are extended: a third of how long they last.
const EXTEND_EVERY: Duration = Duration::from_secs(10);
/// How many requests that takes at a time.
const EXTENDING_AT_ONCE: usize = 20;
/// The pause after a failure: the first and the longest. In between it doubles.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long closing waits for settlements under way.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Everything that a subscriber, its tasks and its leases share.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) taker: Taker,
    pub(super) dead: Client,
    pub(super) notes: Notes,
    pub(super) leases: Leases,
    pub(super) deletes: Deletes,
    pub(super) known: Known,
    pub(super) inbox: Inbox,
    pub(super) prefetch: usize,
    pub(super) ttl: Duration,
    pub(super) wanted: watch::Sender<Wanted>,
    pub(super) connected: AtomicBool,
    pub(super) state: watch::Sender<State>,
    /// Everything that closing waits for.
    pub(super) tasks: TaskTracker,
    pub(super) closed: CancellationToken,
    pub(super) runtime: Handle,
}

/// What the app wants the receiving task to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Receive,
    Pause,
    Close,
}

impl Keeper {
    pub(super) fn is_fifo(&self) -> bool {
        self.taker.is_fifo()
    }

    pub(super) fn group_of<'a>(&self, hold: &'a Hold) -> Option<&'a str> {
        hold.taken.group.as_deref().filter(|_| self.is_fifo())
    }

    /// Receives until it is told to close. A question that was asked is always waited for.
    pub(super) async fn receive(self: Arc<Keeper>) {
        let mut wanted = self.wanted.subscribe();
        let (mut pause, mut told) = (PAUSES.0, None);
        loop {
            let now = *wanted.borrow_and_update();
            match now {
                Wanted::Close => return,
                Wanted::Pause => {
                    // The sender is kept in the keeper.
                    let _ = wanted.changed().await;
                    continue;
                }
                Wanted::Receive => {}
            }
            let room = self.leases.room(self.prefetch);
            if room == 0 {
                tokio::select! {
                    () = self.leases.freed() => {}
                    _ = wanted.changed() => {}
                }
                continue;
            }
            // The first answer after a failure is wanted at once.
            let wait = if self.connected.load(Ordering::Relaxed) { WAIT } else { Duration::ZERO };
            let asked = Moment::now();
            let idle = match self.taker.take(room, wait, LEASE).await {
                Ok(batch) => {
                    let was_connected = self.connected.swap(true, Ordering::Relaxed);
                    (pause, told) = (PAUSES.0, None);
                    let idle = batch.is_empty() && was_connected && asked.elapsed() < WAIT / 2;
                    self.sort(batch, asked);
                    idle.then_some(IDLE)
                }
                Err(error) => {
                    self.connected.store(false, Ordering::Relaxed);
                    self.tell(&error, &mut told);
                    pause = (pause * 2).min(PAUSES.1);
                    Some(pause)
                }
            };
            self.show();
            if let Some(idle) = idle {
                // The pause is not for the sake of whoever wants something else.
                let _ = timeout(idle, wanted.changed()).await;
            }
        }
    }

    /// Logs a failure when it begins.
    fn tell(&self, error: &PublishError, told: &mut Option<String>) {
        let (name, why) = (&self.taker.client.address.name, crate::chain(error));
        if told.as_ref() != Some(&why) {
            tracing::warn!(queue.name = name, error = why, "not receiving from {name}; trying again");
            *told = Some(why);
        }
    }

    /// Shows what the subscriber is doing.
    pub(super) fn show(&self) {
        let state = match *self.wanted.borrow() {
            Wanted::Pause => State::Paused,
            _ if self.connected.load(Ordering::Relaxed) => State::Receiving,
            _ => State::Connecting,
        };
        self.state.send_if_modified(|current| std::mem::replace(current, state) != state);
    }

    /// Makes a queue beside the main one that is not there, or is not any more.
    pub(super) async fn make_if_missing(&self, client: &Client, error: &PublishError) {
        let is_main = client.address == self.taker.client.address;
        if is_main || !matches!(error, PublishError::Unroutable(_)) {
            return;
        }
        match admin::make(client, admin::LONGEST_RETENTION, None).await {
            Ok(()) => tracing::info!(queue.name = client.address.name, "queue {}: made", client.address.name),
            Err(error) => {
                let (name, error) = (&client.address.name, crate::chain(&*error));
                tracing::error!(queue.name = name, error, "queue {name} is missing and cannot be made");
            }
        }
    }

    /// Extends every lease again and again: of what the app holds, and of what waits for it.
    pub(super) async fn extend(self: Arc<Keeper>) {
        loop {
            tokio::select! {
                () = self.closed.cancelled() => return,
                () = sleep(EXTEND_EVERY) => {}
            }
            let _beat = self.leases.beat.write().await;
            let (lapsed, held): (Vec<_>, Vec<_>) = self.leases.all().into_iter().partition(|(_, lapsed)| *lapsed);
            let mut lost: Vec<Arc<Hold>> = lapsed.into_iter().map(|(hold, _)| hold).collect();
            let held: Vec<Arc<Hold>> = held.into_iter().map(|(hold, _)| hold).collect();
            for batches in held.chunks(BATCH * EXTENDING_AT_ONCE) {
                let (asked, mut asking) = (Moment::now(), JoinSet::new());
                for batch in batches.chunks(BATCH) {
                    let (client, batch) = (self.taker.client.clone(), batch.to_vec());
                    asking.spawn(async move { visibility::extend(&client, &batch, LEASE).await });
                }
                for extended in asking.join_all().await {
                    self.leases.extended(&extended.extended, asked);
                    lost.extend(extended.lost);
                }
            }
            // What is just being deleted has no lease to extend either: whoever settles it is told by the delete itself.
            for hold in lost.iter().filter(|hold| !self.leases.is_settling(hold.key)) {
                self.lose(hold);
            }
        }
    }

    /// A lease that was lost: whoever settles it finds that out, and it is no crash when it comes again.
    pub(super) fn lose(&self, hold: &Hold) {
        if self.leases.forget(hold.key) {
            tracing::warn!(message.id = hold.taken.id, "a lease was lost; the event comes again");
            self.known.note_if_unknown(&hold.taken.id, LetGo::of(hold));
        }
    }

    /// Ends the work: everything that is held is handed back. `receiving` is the task that receives.
    pub(super) async fn close(self: Arc<Keeper>, receiving: tokio::task::JoinHandle<()>) {
        self.wanted.send_replace(Wanted::Close);
        drop(self.inbox.close());
        let deadline = Instant::now() + CLOSE_WAIT;
        let ended = tokio::time::timeout_at(deadline, async {
            // It does not panic, and if it did, it would have ended.
            let _ = receiving.await;
            for (hold, _) in self.leases.all() {
                if self.leases.begin(hold.key) == Begun::ByUs {
                    self.hand_back(hold);
                }
            }
            self.tasks.close();
            self.tasks.wait().await;
            self.sweep();
            self.tasks.wait().await;
        });
        if ended.await.is_err() {
            tracing::warn!("SQS did not answer; what is held comes again when its leases lapse");
        }
        self.closed.cancel();
        for (hold, _) in self.leases.all() {
            self.leases.forget(hold.key);
        }
    }
}
