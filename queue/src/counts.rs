//! What became of publishes, counted.

use std::sync::{Mutex, PoisonError};

use crate::publish::PublishError;

/// How often a queue has answered what, since its publisher was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// It has the event.
    pub confirmed: u64,
    /// It does not exist, or is not bound.
    pub unroutable: u64,
    /// It said no: full, or not allowed.
    pub refused: u64,
    /// It took nothing from anybody.
    pub blocked: u64,
    /// It did not answer in time.
    pub timed_out: u64,
    /// It could not be reached, or the connection broke before its answer.
    pub unreachable: u64,
    /// It cannot carry such a body.
    pub too_large: u64,
    /// It was not asked, because it had just failed and others were left.
    pub stepped_over: u64,
}

impl Counts {
    /// What was counted between `earlier` and now.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            confirmed: self.confirmed - earlier.confirmed,
            unroutable: self.unroutable - earlier.unroutable,
            refused: self.refused - earlier.refused,
            blocked: self.blocked - earlier.blocked,
            timed_out: self.timed_out - earlier.timed_out,
            unreachable: self.unreachable - earlier.unreachable,
            too_large: self.too_large - earlier.too_large,
            stepped_over: self.stepped_over - earlier.stepped_over,
        }
    }
}

/// Counts for one queue.
#[derive(Debug, Default)]
pub(crate) struct Counter(Mutex<Counts>);

impl Counter {
    pub(crate) fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an event that the queue has confirmed, or why it has not.
    pub(crate) fn count(&self, failure: Option<&PublishError>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match failure {
            None => &mut counts.confirmed,
            Some(PublishError::Unroutable(_)) => &mut counts.unroutable,
            Some(PublishError::Refused(_)) => &mut counts.refused,
            Some(PublishError::Blocked(_)) => &mut counts.blocked,
            Some(PublishError::TimedOut) => &mut counts.timed_out,
            Some(PublishError::Unreachable(_) | PublishError::NoQueue(_)) => &mut counts.unreachable,
            Some(PublishError::TooLarge { .. }) => &mut counts.too_large,
        };
        *count += 1;
    }

    pub(crate) fn stepped_over(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stepped_over += 1;
    }
}
