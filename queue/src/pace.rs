//! How fast a drain goes: whoever handles its events, and whatever arrives meanwhile, is to have room.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How many events a drain moves in a second, at most.
const MOST_A_SECOND: u32 = 2000;
/// How far a drain that was held up may run ahead of its pace afterwards; timers are not exact, either.
const AHEAD: Duration = Duration::from_millis(20);

/// Waits so that no more is moved.
pub(crate) struct Pace {
    next: Instant,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace { next: Instant::now() }
    }

    /// Waits until so many more events may be moved.
    pub(crate) async fn keep(&mut self, events: usize) {
        sleep_until(self.next).await;
        let earliest = Instant::now().checked_sub(AHEAD).unwrap_or(self.next);
        let each = Duration::from_secs(1) / MOST_A_SECOND;
        self.next = self.next.max(earliest) + each * u32::try_from(events).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_are_moved_in_a_second_also_after_a_pause() {
        let mut pace = Pace::new();
        for batch in [1, 10] {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let began = Instant::now();
            for _ in 0..2 * MOST_A_SECOND / batch {
                pace.keep(batch as usize).await;
            }
            let took = began.elapsed() + AHEAD;
            assert!(took > Duration::from_millis(1990) && took < Duration::from_millis(2030), "{took:?}");
        }
    }
}
