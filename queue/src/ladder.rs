//! Several queues, tried in order until one of them has confirmed.
//!
//! A queue that just failed to answer is stepped over, so that it costs the next event nothing: it is tried again by
//! one event at a time, and by any event for which no other queue is left. So is one that turned out to be out of reach
//! before its time was over.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::chain::chain;
use crate::counts::{Counter, Counts};
use crate::event::Event;
use crate::publish::{Publish, PublishError, Readiness};

/// The least time that a queue gets, and all that a short probe gets.
const SHORTEST_SLICE: Duration = Duration::from_millis(500);
/// After so many failed probes in a row a probe gets a full share: the queue may only be slow.
const SHORT_PROBES: u32 = 2;
/// How long a queue that failed is left alone, when it says by now that it is ready.
const PAUSE_WHEN_READY: Duration = Duration::from_secs(1);
/// How long it is left alone when it does not.
const PAUSE: Duration = Duration::from_secs(5);
/// By the clock on the wall, what was seen longer ago says nothing, and a probe gets a full share: this process may
/// have been frozen since then. A refusal is over when none came for this long.
const OLD: Duration = Duration::from_secs(10);

/// A queue that may be one of several.
pub(crate) trait OneOfSeveral: Publish {
    /// Publishes. If another queue may take the event, and this one turns out to be out of reach, that is its answer at
    /// once, and no next attempt to connect is waited for. Where no connection is kept, each publish finds out by itself.
    fn publish_as_one(
        &self,
        event: &Event,
        deadline: Instant,
        _is_last: bool,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        self.publish(event, deadline)
    }
}

/// Queues in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Ladder<P> {
    rungs: Vec<Rung<P>>,
}

#[derive(Debug)]
struct Rung<P> {
    /// What an event that it took says of it: [`Event::rung`].
    number: u32,
    name: String,
    publisher: P,
    counter: Counter,
    memory: Mutex<Memory>,
}

/// What is remembered of a queue. It is dated by the clock on the wall, which a frozen process cannot miss.
#[derive(Debug, Default)]
struct Memory {
    confirmed_at: Option<SystemTime>,
    trouble: Option<Trouble>,
}

/// What is remembered of a queue that failed.
#[derive(Debug)]
struct Trouble {
    failed_at: SystemTime,
    kind: Kind,
    probing: bool,
    probes: u32,
    /// How many events other queues have taken meanwhile.
    events: u64,
}

/// The worse, the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It answered, and quickly: the next event asks it again, and may be luckier.
    Refusing,
    /// It says itself that it is not ready, which cost nothing: it is asked again when it says otherwise.
    NotReady,
    /// It cost time.
    Away,
}

/// How an event may use a queue.
enum Turn<'a> {
    Try,
    /// As the one event that finds out whether it is back.
    Probe {
        _probe: Probe<'a>,
        full: bool,
    },
    StepOver,
}

/// An event's way down the ladder.
#[derive(Default)]
struct Way {
    /// How many queues it has come to.
    come_to: usize,
    /// Those that did not take it, by their places, and what each of them said last.
    failures: Vec<(usize, PublishError)>,
    /// Those that are asked in the end, or again.
    last_resorts: VecDeque<usize>,
}

/// What is to be asked next.
struct Next<'a> {
    place: usize,
    until: Instant,
    /// A probe ends with it.
    _turn: Turn<'a>,
    /// Whether nobody else may take the event.
    is_last: bool,
    is_last_resort: bool,
}

impl Way {
    fn note(&mut self, place: usize, error: PublishError) {
        self.failures.retain(|(noted, _)| *noted != place);
        self.failures.push((place, error));
    }

    fn has_failed(&self, place: usize) -> bool {
        self.failures.iter().any(|(noted, _)| *noted == place)
    }

    fn failed(&mut self, Next { place, until, is_last_resort, .. }: Next<'_>, error: PublishError) {
        if !is_last_resort && matches!(error, PublishError::Unreachable(_)) && Instant::now() < until {
            self.last_resorts.push_back(place);
        }
        self.note(place, error);
    }
}

/// Ends the probe when it is dropped, whatever became of it.
struct Probe<'a>(&'a Mutex<Memory>);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if let Some(trouble) = &mut lock(self.0).trouble {
            trouble.probing = false;
        }
    }
}

impl<P: OneOfSeveral> Ladder<P> {
    /// Of queues and their names, as a log may show them.
    pub(crate) fn new(rungs: Vec<(String, P)>) -> Ladder<P> {
        let rung = |(number, (name, publisher))| {
            let (counter, memory) = (Counter::default(), Mutex::default());
            Rung { number, name, publisher, counter, memory }
        };
        Ladder { rungs: (0..).zip(rungs).map(rung).collect() }
    }

    pub(crate) async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        let mut way = Way::default();
        while let Some(next) = self.next(&mut way, event, deadline) {
            match self.rungs[next.place].publish(event, next.until, next.is_last).await {
                Ok(()) => {
                    self.confirmed(&way);
                    return Ok(());
                }
                Err(error) => way.failed(next, error),
            }
        }
        Err(self.verdict(way.failures))
    }

    /// `None` when there is nobody left, or no time.
    fn next(&self, way: &mut Way, event: &Event, deadline: Instant) -> Option<Next<'_>> {
        while let Some(rung) = self.rungs.get(way.come_to) {
            let place = way.come_to;
            way.come_to += 1;
            let limit = rung.publisher.max_body_bytes();
            if event.body.len() > limit {
                let error = PublishError::TooLarge { limit };
                rung.counter.count(Some(&error));
                way.note(place, error);
                continue;
            }
            if Instant::now() >= deadline {
                return None;
            }
            let turn = rung.turn();
            if let Turn::StepOver = turn {
                rung.counter.stepped_over();
                way.last_resorts.push_back(place);
                continue;
            }
            let queues_left = self.rungs.len() - place;
            // One that has had its turn gets what is left in the end, if anything is.
            let untried = way.last_resorts.iter().filter(|place| !way.has_failed(**place)).count();
            let until = slice(deadline, queues_left, untried, &turn);
            let is_last = queues_left == 1 && way.last_resorts.is_empty();
            return Some(Next { place, until, _turn: turn, is_last, is_last_resort: false });
        }
        let (queues_left, turn) = (way.last_resorts.len(), Turn::Try);
        let place = way.last_resorts.pop_front().filter(|_| Instant::now() < deadline)?;
        let until = slice(deadline, queues_left, 0, &turn);
        Some(Next { place, until, _turn: turn, is_last: true, is_last_resort: true })
    }

    /// Counts an event for the queues that did not take it.
    fn confirmed(&self, way: &Way) {
        for (place, rung) in self.rungs.iter().enumerate() {
            if let Some(trouble) = &mut lock(&rung.memory).trouble
                && (way.has_failed(place) || way.last_resorts.contains(&place))
            {
                trouble.events += 1;
            }
        }
    }

    fn verdict(&self, failures: Vec<(usize, PublishError)>) -> PublishError {
        let limits = failures.iter().filter_map(|(_, error)| match error {
            PublishError::TooLarge { limit } => Some(*limit),
            _ => None,
        });
        // One that had no turn might have carried it.
        if limits.clone().count() == self.rungs.len()
            && let Some(limit) = limits.max()
        {
            return PublishError::TooLarge { limit };
        }
        let name = |place: usize| self.rungs[place].name.clone();
        PublishError::NoQueue(failures.into_iter().map(|(place, error)| (name(place), error)).collect())
    }

    /// Ready if any queue is.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        for rung in &self.rungs {
            match rung.publisher.readiness() {
                Readiness::Ready => return Readiness::Ready,
                Readiness::NotReady(reason) => reasons.push(format!("{}: {reason}", rung.name)),
            }
        }
        Readiness::NotReady(reasons.join("; "))
    }

    /// What the roomiest queue carries.
    pub(crate) fn max_body_bytes(&self) -> usize {
        self.rungs.iter().map(|rung| rung.publisher.max_body_bytes()).max().unwrap_or_default()
    }

    pub(crate) async fn close(&self) {
        for rung in &self.rungs {
            rung.publisher.close().await;
        }
    }

    /// The first queue, and its name.
    #[cfg(feature = "sqlite")]
    pub(crate) fn first(&self) -> (&str, &P) {
        (&self.rungs[0].name, &self.rungs[0].publisher)
    }

    pub(crate) fn counts(&self) -> Vec<(String, Counts)> {
        self.rungs.iter().map(|rung| (rung.name.clone(), rung.counter.counts())).collect()
    }

    /// Each queue's name, and the largest body that it carries.
    pub(crate) fn limits(&self) -> Vec<(String, usize)> {
        self.rungs.iter().map(|rung| (rung.name.clone(), rung.publisher.max_body_bytes())).collect()
    }
}

/// When a queue's turn ends: an even share of what is left, for so many that share. Those that were stepped over get the
/// least there is.
fn slice(deadline: Instant, shares: usize, stepped_over: usize, turn: &Turn<'_>) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    let count = |queues: usize| u32::try_from(queues).unwrap_or(u32::MAX);
    let share = left.saturating_sub(SHORTEST_SLICE.saturating_mul(count(stepped_over))) / count(shares).max(1);
    let share = if let Turn::Probe { full: false, .. } = turn { SHORTEST_SLICE } else { share.max(SHORTEST_SLICE) };
    now + share.min(left)
}

impl<P: OneOfSeveral> Rung<P> {
    fn turn(&self) -> Turn<'_> {
        let readiness = self.publisher.readiness();
        let mut memory = lock(&self.memory);
        if let (None, Readiness::NotReady(reason)) = (&memory.trouble, &readiness) {
            // A queue that never confirmed yet is only being connected to. What it was before a freeze says nothing.
            if memory.confirmed_at.is_some_and(|at| age(at) < OLD) {
                self.note(&mut memory, Kind::NotReady, reason);
            }
        }
        let Some(trouble) = &mut memory.trouble else { return Turn::Try };
        let (age, ready) = (age(trouble.failed_at), readiness == Readiness::Ready);
        let pause = if ready { PAUSE_WHEN_READY } else { PAUSE };
        match trouble.kind {
            Kind::Refusing => Turn::Try,
            Kind::NotReady if ready => Turn::Try,
            _ if trouble.probing || age < pause => Turn::StepOver,
            _ => {
                let full = age >= OLD || trouble.probes >= SHORT_PROBES;
                trouble.probing = true;
                trouble.probes = trouble.probes.saturating_add(1);
                Turn::Probe { _probe: Probe(&self.memory), full }
            }
        }
    }

    /// By `deadline`. If it is the last that may take the event, it is waited for although it is out of reach.
    async fn publish(&self, event: &Event, deadline: Instant, is_last: bool) -> Result<(), PublishError> {
        let (began, began_at) = (Instant::now(), SystemTime::now());
        let outcome = self.publisher.publish_as_one(&self.marked(event), deadline, is_last).await;
        self.counter.count(outcome.as_ref().err());
        match &outcome {
            Ok(()) => self.took(began_at),
            // An event that itself came too late is no news of the queue.
            Err(PublishError::TimedOut) if began.elapsed() < SHORTEST_SLICE / 2 => {}
            Err(PublishError::TooLarge { .. }) => {}
            Err(error @ (PublishError::Refused(_) | PublishError::Unroutable(_))) => self.failed(Kind::Refusing, error),
            Err(error) => self.failed(Kind::Away, error),
        }
        outcome
    }

    /// The event as this queue gets it. The first gets what is there, which may have come from a fallback.
    fn marked<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        match self.number {
            0 => Cow::Borrowed(event),
            rung => Cow::Owned(Event { rung, ..event.clone() }),
        }
    }

    /// Whoever began before the last failure has not seen what happened since then.
    fn took(&self, began_at: SystemTime) {
        let mut memory = lock(&self.memory);
        memory.confirmed_at = Some(SystemTime::now());
        let over = memory.trouble.take_if(|trouble| match trouble.kind {
            Kind::Refusing => age(trouble.failed_at) >= OLD,
            // A clock that was set back must not make the failure one that is still to come.
            Kind::NotReady | Kind::Away => began_at >= trouble.failed_at || trouble.failed_at > SystemTime::now(),
        });
        if let Some(Trouble { events, .. }) = over {
            let name = &self.name;
            tracing::info!(queue = name, events, "{name} takes events again; others have taken {events} meanwhile");
        }
    }

    fn failed(&self, kind: Kind, error: &PublishError) {
        let mut memory = lock(&self.memory);
        match &mut memory.trouble {
            Some(trouble) => {
                trouble.failed_at = SystemTime::now();
                trouble.kind = trouble.kind.max(kind);
            }
            None => self.note(&mut memory, kind, &chain(error)),
        }
    }

    fn note(&self, memory: &mut Memory, kind: Kind, reason: &str) {
        let name = &self.name;
        tracing::warn!(queue = name, reason, "{name} takes no events; on to the next queue: {reason}");
        memory.trouble = Some(Trouble { failed_at: SystemTime::now(), kind, probing: false, probes: 0, events: 0 });
    }
}

/// How long ago that was. A clock that was set back says that nothing is known.
fn age(at: SystemTime) -> Duration {
    at.elapsed().unwrap_or(OLD)
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
