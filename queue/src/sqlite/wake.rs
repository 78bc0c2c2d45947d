//! Telling the subscribers of this process that something was published, sooner than they would see it in the file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::keeper::Command;

static WAKERS: Mutex<Vec<Weak<Waker>>> = Mutex::new(Vec::new());

/// One subscriber that wants to be told. It is forgotten when it is dropped.
#[derive(Debug)]
pub(super) struct Waker {
    path: PathBuf,
    keeper: Sender<Command>,
    /// Told already, and not looked yet: nothing piles up in front of a busy keeper.
    told: AtomicBool,
}

impl Waker {
    pub(super) fn register(path: &Path, keeper: Sender<Command>) -> Arc<Waker> {
        let waker = Arc::new(Waker { path: path.to_owned(), keeper, told: AtomicBool::new(false) });
        let mut wakers = WAKERS.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.retain(|waker| waker.strong_count() > 0);
        wakers.push(Arc::downgrade(&waker));
        waker
    }

    /// The keeper is about to look.
    pub(super) fn rearm(&self) {
        self.told.store(false, Ordering::Release);
    }
}

/// Something was committed to the file at `path`.
pub(super) fn wake(path: &Path) {
    for waker in WAKERS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
        if waker.path == path && !waker.told.swap(true, Ordering::AcqRel) {
            // A keeper that has ended needs no waking.
            let _ = waker.keeper.send(Command::Look);
        }
    }
}
