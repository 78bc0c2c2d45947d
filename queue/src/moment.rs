//! A point in time by both clocks.

use std::time::{Duration, Instant, SystemTime};

/// A point in time that a pause of the whole process cannot hide: while a machine is frozen its steady clock may stand
/// still, and its wall clock is what somebody sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    steady: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Moment {
        Moment { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// How long ago it was, by the clock that says more.
    pub(crate) fn elapsed(&self) -> Duration {
        self.steady.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}
