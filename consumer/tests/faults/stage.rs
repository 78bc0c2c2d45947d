//! What the scenarios share: a queue, the consumers on it, and the account of what became of the events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use testbed::eventually;

use crate::PATIENCE;
use crate::common::{Queue, SOON};
use crate::process::{Attended, Journal, Process};

/// A queue, and the journal of those who consume it.
pub(crate) struct Stage {
    pub(crate) place: String,
    pub(crate) queue: Queue,
    pub(crate) journal: Journal,
    _folder: tempfile::TempDir,
}

/// Events, by what is to become of them.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) handled: BTreeSet<String>,
    pub(crate) dead: BTreeSet<String>,
}

impl Load {
    pub(crate) fn len(&self) -> usize {
        self.handled.len() + self.dead.len()
    }

    pub(crate) fn with(mut self, mut other: Load) -> Load {
        self.handled.append(&mut other.handled);
        self.dead.append(&mut other.dead);
        self
    }
}

/// What a scenario has found. None is lost, or there would be no account.
pub(crate) struct Account {
    pub(crate) events: usize,
    pub(crate) dead: usize,
    /// How often an event was handled once more.
    pub(crate) duplicates: usize,
    pub(crate) remark: String,
}

impl Stage {
    pub(crate) fn new(place: String, queue: Queue) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        Stage { place, queue, journal: Journal::at(folder.path().join("journal")), _folder: folder }
    }

    /// A consumer in a process of its own.
    pub(crate) fn process(&self, settings: &[&str]) -> Process {
        let pairs = self.queue.pairs.iter().map(|(name, value)| format!("{name}={value}"));
        Process::consume(&self.journal, &pairs.chain(settings.iter().map(|text| text.to_string())).collect::<Vec<_>>())
    }

    /// A consumer in this process.
    pub(crate) fn attended(&self, concurrency: usize, prefetch: usize) -> Attended {
        self.attended_with(self.queue.pairs.clone(), concurrency, prefetch)
    }

    pub(crate) fn attended_with(
        &self,
        mut pairs: Vec<(String, String)>,
        concurrency: usize,
        prefetch: usize,
    ) -> Attended {
        for (name, value) in [("CONSUMER_CONCURRENCY", concurrency), ("CONSUMER_PREFETCH", prefetch)] {
            pairs.push((name.to_owned(), value.to_string()));
        }
        Attended::start(&self.journal, pairs)
    }

    /// Publishes events that are all handled alike.
    pub(crate) async fn publish(&self, body: &str, count: usize) -> Load {
        self.publish_each(vec![body.to_owned(); count]).await
    }

    /// Publishes events of which some fail once and some are given up. `first` is what all handlers do first.
    pub(crate) async fn publish_mixed(&self, first: &str, milliseconds: u64, count: usize) -> Load {
        let body = |number| match number % 10 {
            0 => format!("{first}gives up {milliseconds}"),
            1 | 6 => format!("{first}fails once {milliseconds}"),
            _ => format!("{first}works {milliseconds}"),
        };
        self.publish_each((0..count).map(body).collect()).await
    }

    pub(crate) async fn publish_each(&self, bodies: Vec<String>) -> Load {
        let mut load = Load::default();
        for (id, body) in self.queue.publish_many(&bodies).await.into_iter().zip(bodies) {
            if body.contains("gives up") {
                load.dead.insert(id)
            } else {
                load.handled.insert(id)
            };
        }
        load
    }

    /// How often something was noted of each event.
    pub(crate) fn noted(&self, what: &str) -> BTreeMap<String, usize> {
        let mut noted = BTreeMap::new();
        for (_, id, _) in notes(&self.journal.read()).filter(|(noted, ..)| *noted == what) {
            *noted.entry(id.to_owned()).or_default() += 1;
        }
        noted
    }

    pub(crate) async fn begun(&self, count: usize) {
        eventually("handlers begin", SOON, async || (self.noted("begun").len() >= count).then_some(())).await;
    }

    /// Kills a process, and notes that.
    pub(crate) async fn kill(&self, process: &mut Process) {
        process.kill().await;
        self.journal.note("death", "-", process.id());
    }

    pub(crate) fn is_done(&self, load: &Load) -> bool {
        let (done, given_up) = (self.noted("done"), self.noted("given-up"));
        load.handled.iter().all(|id| done.contains_key(id)) && load.dead.iter().all(|id| given_up.contains_key(id))
    }

    /// Waits until every event is handled or given up.
    pub(crate) async fn done(&self, load: &Load) {
        let all = load.len();
        let waited = tokio::time::timeout(PATIENCE, async {
            while !self.is_done(load) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        if waited.await.is_err() {
            let missing = all - self.noted("done").len() - self.noted("given-up").len();
            panic!("{}: {missing} of {all} events were not handled within {PATIENCE:?}", self.place);
        }
    }

    /// Makes sure that every event is handled or a dead letter, for the right reason, and that nothing is left to come.
    pub(crate) async fn account(&self, load: &Load, remark: impl Into<String>) -> Account {
        self.done(load).await;
        let dead = self.queue.dead_letters(load.dead.len()).await;
        assert_eq!(
            dead.keys().collect::<BTreeSet<_>>(),
            load.dead.iter().collect(),
            "{}: the dead letters",
            self.place
        );
        assert!(dead.values().all(|reason| reason == "handler"), "{}: {dead:?}", self.place);
        self.nothing_left().await;
        Account { events: load.len(), dead: dead.len(), duplicates: self.duplicates(), remark: remark.into() }
    }

    /// Waits until, besides, no copy is left to come.
    pub(crate) async fn settled(&self, load: &Load) {
        self.done(load).await;
        self.nothing_left().await;
    }

    pub(crate) async fn nothing_left(&self) {
        self.unsettled(0, 0).await;
    }

    /// Waits until so many events are not settled, and so many of them in hand.
    pub(crate) async fn unsettled(&self, all: usize, held: usize) {
        let mut seen = None;
        let waited = tokio::time::timeout(PATIENCE, async {
            while seen != Some((all, held)) {
                tokio::time::sleep(Duration::from_millis(100)).await;
                seen = self.queue.unsettled().await;
            }
        });
        let in_time = waited.await.is_ok();
        assert!(in_time, "{}: {seen:?} events unsettled and in hand, not {:?}", self.place, (all, held));
    }

    /// How often events were handled once more.
    pub(crate) fn duplicates(&self) -> usize {
        let more_than_once = |what| self.noted(what).values().map(|times| times - 1).sum::<usize>();
        more_than_once("done") + more_than_once("given-up")
    }

    /// Makes sure that every event whose handler died with its process ran alone in its next process. Says how many
    /// these were.
    pub(crate) fn suspects_ran_alone(&self) -> usize {
        let (mut running, mut suspects) = (BTreeMap::<String, BTreeSet<String>>::new(), BTreeSet::new());
        let mut alone = BTreeSet::new();
        for (what, id, process) in notes(&self.journal.read()) {
            let beside = running.entry(process.to_owned()).or_default();
            match what {
                "begun" => {
                    let suspect = suspects.contains(id) || beside.iter().any(|id| suspects.contains(id));
                    assert!(!suspect || beside.is_empty(), "{id} ran beside {beside:?}");
                    beside.insert(id.to_owned());
                }
                "done" => {
                    beside.remove(id);
                    if suspects.remove(id) {
                        alone.insert(id.to_owned());
                    }
                }
                _ => suspects.append(beside),
            }
        }
        alone.len()
    }
}

/// What was noted, of which event, in which process.
pub(crate) fn notes(journal: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    journal.lines().filter_map(|line| {
        let (what, rest) = line.split_once(' ')?;
        let (id, process) = rest.split_once(' ')?;
        Some((what, id, process))
    })
}
