//! What becomes of a delivery, as a table without a clock.

use std::time::Duration;

use webhook_queue::{BoxError, Reason};

use crate::outcome::Outcome;

/// The delays before the second and each later attempt; after the last of them comes [`HOURLY`].
const RETRY_DELAYS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(20),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(20 * 60),
];
const HOURLY: Duration = Duration::from_secs(60 * 60);
/// The shortest delay, so that nothing comes again in a hot loop.
const MIN_DELAY: Duration = RETRY_DELAYS[0];
/// The longest delay an app may ask for. No queue keeps events for less than that by default.
const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How many processes an event may kill before it is dead-lettered unrun.
const CRASH_LIMIT: u32 = 3;

/// What becomes of a delivery.
#[derive(Debug)]
pub(crate) enum Decision {
    Ack,
    /// A failed attempt that is followed by another.
    Retry {
        after: Duration,
        error: BoxError,
    },
    Snooze {
        after: Duration,
    },
    DeadLetter {
        reason: Reason,
        error: BoxError,
    },
}

/// Whether an event has killed so many processes that it must not be run again.
pub(crate) fn is_killer(crashes: u32) -> bool {
    crashes >= CRASH_LIMIT
}

/// Decides, for the attempt with this number. `age` is the time since a consumer first received the event: what it waited
/// for a consumer before is no reason to give up on it.
pub(crate) fn decide(outcome: Outcome, attempt: u32, age: Duration, max_age: Duration) -> Decision {
    match outcome {
        Outcome::Done => Decision::Ack,
        Outcome::Snoozed { after } => Decision::Snooze { after: asked(after) },
        Outcome::DeadLetter { error } => Decision::DeadLetter { reason: Reason::Handler, error },
        Outcome::Undecodable { error } => Decision::DeadLetter { reason: Reason::Undecodable, error },
        Outcome::Failed { error, after } => match retry_after(attempt, age, max_age) {
            Some(step) => Decision::Retry { after: after.map_or(step, asked), error },
            None => Decision::DeadLetter { reason: Reason::Retries, error },
        },
    }
}

fn asked(after: Duration) -> Duration {
    after.clamp(MIN_DELAY, MAX_DELAY)
}

/// How long to wait after the failed attempt with this number; `None` when retrying ends. The last attempt takes place
/// when the age reaches `max_age`.
fn retry_after(attempt: u32, age: Duration, max_age: Duration) -> Option<Duration> {
    let left = max_age.checked_sub(age).filter(|left| !left.is_zero())?;
    let retries = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    Some(RETRY_DELAYS.get(retries).copied().unwrap_or(HOURLY).min(left).max(MIN_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The decision in a form that can be compared: its word and its delay in seconds.
    fn decided(outcome: Outcome, attempt: u32, age: Duration, max_age: Duration) -> (&'static str, u64) {
        match decide(outcome, attempt, age, max_age) {
            Decision::Ack => ("ack", 0),
            Decision::Retry { after, .. } => ("retry", after.as_secs()),
            Decision::Snooze { after } => ("snooze", after.as_secs()),
            Decision::DeadLetter { reason, .. } => (reason.as_str(), 0),
        }
    }

    fn failed(attempt: u32, age: u64, max_age: u64) -> (&'static str, u64) {
        decided(Outcome::failed("x"), attempt, seconds(age), seconds(max_age))
    }

    #[test]
    fn the_ladder_is_climbed_and_then_every_hour() {
        for (attempt, expected) in
            [(1, 1), (2, 20), (3, 60), (4, 300), (5, 1200), (6, 3600), (7, 3600), (20, 3600), (u32::MAX, 3600)]
        {
            assert_eq!(failed(attempt, 0, 86_400), ("retry", expected), "attempt {attempt}");
        }
        assert_eq!(failed(0, 0, 86_400), ("retry", 1), "a number that no queue should give");
    }

    #[test]
    fn the_last_attempt_takes_place_at_the_maximum_age() {
        assert_eq!(failed(9, 86_000, 86_400), ("retry", 400));
        assert_eq!(failed(9, 86_400, 86_400), ("retries", 0));
        assert_eq!(failed(9, 90_000, 86_400), ("retries", 0));
        assert_eq!(failed(2, 1, 2), ("retry", 1));
        assert_eq!(failed(3, 2, 2), ("retries", 0));
    }

    #[test]
    fn a_delay_is_never_shorter_than_the_first_step() {
        let age = Duration::from_millis(86_399_990);
        assert_eq!(decided(Outcome::failed("x"), 9, age, DAY), ("retry", 1));
        assert_eq!(decided(Outcome::retry_after(Duration::ZERO), 1, Duration::ZERO, DAY), ("retry", 1));
        assert_eq!(decided(Outcome::snooze(Duration::ZERO), 1, Duration::ZERO, DAY), ("snooze", 1));
    }

    #[test]
    fn the_app_chooses_its_own_delay_within_a_day() {
        let decided = |outcome, age| decided(outcome, 4, age, DAY);
        assert_eq!(decided(Outcome::retry_after(seconds(7)), Duration::ZERO), ("retry", 7));
        assert_eq!(decided(Outcome::retry_after(Duration::MAX), Duration::ZERO), ("retry", 86_400));
        assert_eq!(decided(Outcome::snooze(Duration::MAX), Duration::ZERO), ("snooze", 86_400));
        assert_eq!(decided(Outcome::retry_after(seconds(7)), DAY), ("retries", 0), "a failure all the same");
        assert_eq!(decided(Outcome::snooze(seconds(7)), 9 * DAY), ("snooze", 7), "not a failure");
    }

    #[test]
    fn the_other_outcomes_do_not_depend_on_attempt_or_age() {
        for (attempt, age) in [(1, Duration::ZERO), (99, 9 * DAY)] {
            assert_eq!(decided(Outcome::Done, attempt, age, DAY), ("ack", 0));
            assert_eq!(decided(Outcome::dead_letter("x"), attempt, age, DAY), ("handler", 0));
            assert_eq!(decided(Outcome::undecodable("x"), attempt, age, DAY), ("undecodable", 0));
        }
    }

    #[test]
    fn an_event_may_kill_a_few_processes_and_no_more() {
        assert_eq!([0, 1, 2, 3, 4].map(is_killer), [false, false, false, true, true]);
    }
}
