//! One way through the file, from the oldest event to the youngest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a drain takes: nothing that is larger than the other queue carries, and each event once until it starts over. So
/// what cannot be moved stays where it is, and in nobody's way.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    progress: Arc<Mutex<Progress>>,
}

#[derive(Debug)]
struct Progress {
    window: Window,
    /// How many events were left behind.
    left: usize,
}

/// Which of the events that wait may be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) most_bytes: i64,
    /// When the last event that was taken was due, and its number: only what comes after it is taken.
    pub(super) after: (i64, i64),
}

impl Window {
    pub(super) const ALL: Window = Window { most_bytes: i64::MAX, after: (i64::MIN, i64::MIN) };
}

impl Pass {
    pub(crate) fn new(max_body_bytes: usize) -> Pass {
        let window = Window { most_bytes: i64::try_from(max_body_bytes).unwrap_or(i64::MAX), ..Window::ALL };
        Pass { progress: Arc::new(Mutex::new(Progress { window, left: 0 })) }
    }

    pub(crate) fn start_over(&self) {
        let mut progress = self.progress();
        progress.window.after = Window::ALL.after;
        progress.left = 0;
    }

    pub(super) fn window(&self) -> Window {
        self.progress().window
    }

    pub(super) fn has_taken_up_to(&self, last: (i64, i64)) {
        self.progress().window.after = last;
    }

    pub(super) fn leave_one(&self) {
        self.progress().left += 1;
    }

    pub(super) fn left(&self) -> usize {
        self.progress().left
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
