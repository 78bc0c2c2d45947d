//! Everything that a subscriber holds, be it with the app or still in a buffer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, RwLock};

use super::lease::Hold;
use crate::moment::Moment;

/// How long SQS keeps a message from others after it was handed out or extended.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// How many bytes of messages are held before no more is taken: the prefetch alone would allow any amount.
const HELD_BYTES: usize = 64 * 1024 * 1024;

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: Mutex<Held>,
    freed: Notify,
    /// Held for writing while leases are extended, and for reading while one is ended on purpose: an extension that is
    /// under way must not undo that.
    pub(super) beat: RwLock<()>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    bytes: usize,
    by_key: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    hold: Arc<Hold>,
    /// When SQS was last asked for the lease.
    since: Moment,
    settling: bool,
}

/// Who has begun to end a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    ByUs,
    ByOthers,
    /// Nobody any more.
    Lost,
}

impl Entry {
    fn is_held(&self) -> bool {
        self.since.elapsed() < LEASE
    }
}

impl Leases {
    /// Notes what has just been received; `since` is when it was asked for.
    pub(super) fn hold(&self, since: Moment, make: impl FnOnce(u64) -> Hold) -> Arc<Hold> {
        let mut held = self.held();
        let key = held.next;
        held.next += 1;
        let hold = Arc::new(make(key));
        held.bytes += hold.bytes();
        held.by_key.insert(key, Entry { hold: Arc::clone(&hold), since, settling: false });
        hold
    }

    /// Whether the lease has not been ended, lost, or left to lapse. What SQS says about a lease that has lapsed by our
    /// own clocks is not to be trusted: it calls a delete successful that deletes nothing.
    pub(super) fn is_held(&self, key: u64) -> bool {
        self.held().by_key.get(&key).is_some_and(Entry::is_held)
    }

    /// Whoever begins is the one who ends it: the app with a settlement, or closing, which hands back.
    pub(super) fn begin(&self, key: u64) -> Begun {
        match self.held().by_key.get_mut(&key).filter(|entry| entry.is_held()) {
            None => Begun::Lost,
            Some(Entry { settling: true, .. }) => Begun::ByOthers,
            Some(entry) => {
                entry.settling = true;
                Begun::ByUs
            }
        }
    }

    /// SQS has extended these, and was asked at that time.
    pub(super) fn extended(&self, keys: &[u64], since: Moment) {
        let mut held = self.held();
        for key in keys {
            if let Some(entry) = held.by_key.get_mut(key) {
                entry.since = since;
            }
        }
    }

    /// Forgets it. Whoever comes to settle it finds the lease lost.
    pub(super) fn forget(&self, key: u64) -> bool {
        let mut held = self.held();
        let Some(entry) = held.by_key.remove(&key) else { return false };
        held.bytes = held.bytes.saturating_sub(entry.hold.bytes());
        drop(held);
        self.freed.notify_one();
        true
    }

    /// Whether somebody is about to end it.
    pub(super) fn is_settling(&self, key: u64) -> bool {
        self.held().by_key.get(&key).is_some_and(|entry| entry.settling)
    }

    /// What we hold of the message with this id, be it that its lease has lapsed.
    pub(super) fn of_message(&self, id: &str) -> Option<Arc<Hold>> {
        let held = self.held();
        let hold = held.by_key.values().map(|entry| &entry.hold).find(|hold| hold.taken.id == id);
        hold.map(Arc::clone)
    }

    /// Everything held, and whether its lease has lapsed.
    pub(super) fn all(&self) -> Vec<(Arc<Hold>, bool)> {
        self.held().by_key.values().map(|entry| (Arc::clone(&entry.hold), !entry.is_held())).collect()
    }

    /// How many more messages may be taken.
    pub(super) fn room(&self, prefetch: usize) -> usize {
        let held = self.held();
        if held.bytes >= HELD_BYTES { 0 } else { prefetch.saturating_sub(held.by_key.len()) }
    }

    /// Waits until there may be more room.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
