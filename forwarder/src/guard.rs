//! The guard: counts what was not taken within a day, and warns long before the provider stops sending.
//!
//! It counts for one process and in its memory. Functions come and go, so there the platform's alarm counts instead.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::sources::{Source, SwitchOff};

/// The hour that has begun and the 24 before it: never less than a day.
const HOURS: usize = 25;
const HOUR: Duration = Duration::from_secs(60 * 60);
const HOURS_OF_A_DAY: u64 = 24;
/// When it warns, in percent of what the provider puts up with.
const STEPS: [u64; 4] = [20, 50, 80, 100];
/// Of all sources, each with every type of its webhooks. More than this are counted together, so that whoever makes up
/// types takes no memory.
const MAX_TALLIES: usize = 1024;
const OTHER_TYPES: &str = "(other types)";

/// The counts of this process.
#[derive(Debug)]
pub(crate) struct Guard {
    started: Instant,
    tallies: Mutex<HashMap<(String, Untaken), Tally>>,
}

/// What was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Untaken {
    /// Webhooks of this type, by our own fault.
    Failed(String),
    /// Requests of whoever sent them: their type is not to be believed.
    Refused,
}

/// How often, by the hour.
#[derive(Debug, Default)]
struct Tally {
    by_hour: [u32; HOURS],
    /// The newest, since the guard has started.
    hour: u64,
    /// How many steps have been warned of.
    told: usize,
}

impl Guard {
    pub(crate) fn new() -> Guard {
        Guard { started: Instant::now(), tallies: Mutex::default() }
    }

    /// Counts one, where the provider counts, and warns at each step once.
    pub(crate) fn count(&self, source: &Source, untaken: Untaken) {
        let Some(limit) = source.switches_off() else { return };
        if let Some((count, untaken)) = self.reached(&source.name, untaken, limit) {
            tell(&source.name, &untaken, count, limit);
        }
    }

    /// A webhook of this type was taken: for some providers the count begins anew.
    pub(crate) fn taken(&self, source: &Source, event_type: &str) {
        if source.switches_off().is_some_and(|limit| limit.in_a_row) {
            self.forget(&source.name, event_type);
        }
    }

    /// The count, where it has just come to a step.
    fn reached(&self, source: &str, untaken: Untaken, limit: SwitchOff) -> Option<(u64, Untaken)> {
        let hour = self.started.elapsed().as_secs() / HOUR.as_secs();
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (source.to_owned(), untaken);
        if !tallies.contains_key(&key) {
            tallies.retain(|_, tally| tally.hour + HOURS as u64 > hour);
            if tallies.len() >= MAX_TALLIES && key.1 != Untaken::Refused {
                key.1 = Untaken::Failed(OTHER_TYPES.to_owned());
            }
        }
        let tally = tallies.entry(key.clone()).or_default();
        let count = tally.add(hour);
        tally.comes_to_a_step(count, limit).then_some((count, key.1))
    }

    fn forget(&self, source: &str, event_type: &str) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.remove(&(source.to_owned(), Untaken::Failed(event_type.to_owned())));
        tallies.remove(&(source.to_owned(), Untaken::Refused));
    }
}

impl Tally {
    /// Counts one more, and says how many there are.
    fn add(&mut self, hour: u64) -> u64 {
        let slot = |hour: u64| (hour % HOURS as u64) as usize;
        for passed in (self.hour + 1..=hour).take(HOURS) {
            self.by_hour[slot(passed)] = 0;
        }
        self.hour = hour;
        self.by_hour[slot(hour)] = self.by_hour[slot(hour)].saturating_add(1);
        self.by_hour.iter().copied().map(u64::from).sum()
    }

    /// Once for each step, and again when the count has been below it.
    fn comes_to_a_step(&mut self, count: u64, limit: SwitchOff) -> bool {
        let steps = STEPS.iter().filter(|percent| count * 100 >= *percent * u64::from(limit.failures)).count();
        let comes = steps > self.told;
        self.told = steps;
        comes
    }
}

fn tell(source: &str, untaken: &Untaken, count: u64, limit: SwitchOff) {
    let SwitchOff { failures: limit, .. } = limit;
    let (event_type, what, advice) = match untaken {
        Untaken::Failed(event_type) => {
            (Some(event_type), format!("{source}/{event_type} were answered 503"), "mend the queue")
        }
        Untaken::Refused => {
            let advice = "if they are its own, mend its key, its signature or its addresses";
            (None, format!("{source} were refused"), advice)
        }
    };
    let then = if count < u64::from(limit) { "" } else { ", and start it again there if it has stopped" };
    tracing::warn!(
        source.name = source,
        event.r#type = event_type,
        failures.count = count,
        failures.limit = limit,
        failures.hours = HOURS_OF_A_DAY,
        "{count} requests to {what} within a day, and at {limit} the provider stops sending: {advice}{then}"
    );
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const A_DAY: SwitchOff = SwitchOff { failures: 250, in_a_row: false };

    fn failed(event_type: &str) -> Untaken {
        Untaken::Failed(event_type.to_owned())
    }

    /// The counts at which a guard warns, of this many failures.
    fn told(guard: &Guard, untaken: &Untaken, times: usize) -> Vec<u64> {
        (0..times).filter_map(|_| Some(guard.reached("shop", untaken.clone(), A_DAY)?.0)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_is_told_once() {
        let guard = Guard::new();
        assert_eq!(told(&guard, &failed("a"), 1000), [50, 125, 200, 250]);
        assert_eq!(told(&guard, &Untaken::Refused, 60), [50]);
        assert_eq!(told(&guard, &failed("b"), 49), [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_a_day_does_not_count() {
        let guard = Guard::new();
        assert_eq!(told(&guard, &failed("a"), 49), [0; 0]);
        advance(HOUR * 24).await;
        assert_eq!(told(&guard, &failed("a"), 1), [50]);
        advance(HOUR).await;
        assert_eq!(told(&guard, &failed("a"), 49), [50]);
        advance(HOUR * 1000).await;
        assert_eq!(told(&guard, &failed("a"), 51), [50]);
    }

    #[tokio::test(start_paused = true)]
    async fn types_without_end_take_no_memory() {
        let guard = Guard::new();
        let other = (0..2 * MAX_TALLIES).filter_map(|n| guard.reached("shop", failed(&n.to_string()), A_DAY));
        let other: Vec<_> = other.collect();
        assert_eq!(other.first(), Some(&(50, failed(OTHER_TYPES))));
        assert_eq!(told(&guard, &Untaken::Refused, 50), [50]);
        assert!(guard.tallies.lock().unwrap().len() <= MAX_TALLIES + 2);
        advance(HOUR * 25).await;
        guard.reached("shop", failed("a"), A_DAY);
        assert_eq!(guard.tallies.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_begins_anew() {
        let guard = Guard::new();
        told(&guard, &failed("a"), 49);
        guard.forget("shop", "a");
        assert_eq!(told(&guard, &failed("a"), 50), [50]);
    }
}
