//! Moving what can be moved to another queue.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::take::{BATCH, Taken, Taker};
use super::wire;
use crate::BoxError;
use crate::config::QueueConfig;
use crate::drain::{Progress, concerns_the_event};
use crate::event::Event;
use crate::pace::Pace;
use crate::publish::{Publish, PublishError, Publisher};

/// How long an empty queue is asked for messages: one that is asked for a moment only may not look everywhere.
const WAIT: Duration = Duration::from_secs(2);
/// How long nobody else sees what is being moved.
const LEASE: Duration = Duration::from_secs(60);
/// How long nobody sees what cannot be moved, so that the others come: until the drain ends, or this long after one that
/// was killed.
const LEFT_LEASE: Duration = Duration::from_secs(5 * 60);
/// How long the first queue has for one event.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// So many messages that cannot be moved are walked around; then somebody has to look.
const MOST_LEFT: usize = 1000;
/// How often in a row a FIFO queue must say that it has nothing else, before all that is there is believed to wait behind
/// what cannot be moved.
const ROUNDS: usize = 3;

/// One run: what it moved, and what it cannot move.
struct Drain<'a> {
    taker: Taker,
    publisher: &'a Publisher,
    pace: Pace,
    moved: u64,
    /// SQS's ids of messages that stay, each with what proves that we hold it.
    left: HashMap<String, String>,
    /// Why the first of them stays.
    why: Option<BoxError>,
}

/// What became of one message.
enum Outcome {
    Moved(Taken),
    /// Something is wrong with the message itself, as far as can be told.
    Stays(Taken, BoxError),
    /// Something is wrong with the queue that it was to be moved to.
    Failed(Taken, PublishError),
}

/// Publishes every message to another queue, and deletes it here once that has confirmed.
pub(crate) async fn drain(config: &QueueConfig, url: &str, publisher: &Publisher) -> Progress {
    let taker = match Taker::open(config, url) {
        Ok(taker) => taker,
        Err(error) => return Progress { moved: 0, left: None, end: Err(error.into()) },
    };
    let mut drain = Drain { taker, publisher, pace: Pace::new(), moved: 0, left: HashMap::new(), why: None };
    let ended = drain.run().await;
    let handles: Vec<&str> = drain.left.values().map(String::as_str).collect();
    for batch in handles.chunks(BATCH) {
        drain.taker.hold(batch, Duration::ZERO).await;
    }
    let on_queue =
        ended.as_ref().ok().copied().flatten().map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let stay = handles.len().max(on_queue);
    Progress { moved: drain.moved, left: drain.why.map(|why| (stay, why)), end: ended.map(|_| ()) }
}

impl Drain<'_> {
    /// Says about how many messages are on the queue in the end, if it knows.
    async fn run(&mut self) -> Result<Option<u64>, BoxError> {
        let mut rounds = 0;
        while self.left.len() <= MOST_LEFT {
            let until = Instant::now() + LEASE;
            let batch = self.taker.take(BATCH, WAIT, LEASE).await?;
            if !batch.is_empty() {
                rounds = 0;
                self.pace.keep(batch.len()).await;
                self.take_over(batch, until).await?;
                continue;
            }
            let (waiting, held) = self.taker.counts().await?;
            let left = self.left.len() as u64;
            rounds += 1;
            if waiting + held <= left || (self.is_blocked() && held <= left && rounds >= ROUNDS) {
                return Ok(Some(waiting + held));
            }
            if held > left {
                let count = held - left;
                tracing::info!(events = count, "waiting for {count} messages that somebody else holds");
            }
        }
        Ok(None)
    }

    /// Whether messages may wait behind others that stay.
    fn is_blocked(&self) -> bool {
        self.taker.is_fifo() && !self.left.is_empty()
    }

    /// `until` is when the lease on these messages ends.
    async fn take_over(&mut self, batch: Vec<Taken>, until: Instant) -> Result<(), BoxError> {
        if self.taker.is_fifo() {
            return self.one_by_one(batch, until).await;
        }
        let mut tasks = JoinSet::new();
        for message in batch {
            let (publisher, known) = (self.publisher.clone(), self.left.contains_key(&message.id));
            tasks.spawn(async move { publish(&publisher, message, known).await });
        }
        self.conclude(tasks.join_all().await).await
    }

    /// In the order of the queue. Behind an event that is not moved the rest of its group waits.
    async fn one_by_one(&mut self, batch: Vec<Taken>, until: Instant) -> Result<(), BoxError> {
        let mut blocked: HashSet<String> = HashSet::new();
        let mut batch = batch.into_iter();
        let mut concluded = Ok(());
        while concluded.is_ok() && Instant::now() + PUBLISH_TIMEOUT < until {
            let Some(message) = batch.next() else { break };
            let group = message.event.as_ref().map(wire::group).unwrap_or_default();
            let outcome = if blocked.contains(&group) {
                Outcome::Stays(message, "an event before it in its group cannot be moved".into())
            } else {
                let known = self.left.contains_key(&message.id);
                publish(self.publisher, message, known).await
            };
            if !matches!(outcome, Outcome::Moved(_)) {
                blocked.insert(group);
            }
            concluded = self.conclude(vec![outcome]).await;
        }
        self.taker.give_back(batch.as_slice()).await;
        concluded
    }

    /// Deletes what was moved, holds what stays, and gives back the rest.
    async fn conclude(&mut self, outcomes: Vec<Outcome>) -> Result<(), BoxError> {
        let (mut moved, mut stay, mut kept, mut failure) = (Vec::new(), Vec::new(), Vec::new(), None);
        for outcome in outcomes {
            match outcome {
                Outcome::Moved(message) => moved.push(message),
                Outcome::Stays(message, why) => {
                    self.why.get_or_insert(why);
                    stay.push(message);
                }
                Outcome::Failed(message, error) => {
                    kept.push(message);
                    failure.get_or_insert(error);
                }
            }
        }
        let handles: Vec<&str> = stay.iter().map(|message| &*message.handle).collect();
        self.taker.hold(&handles, LEFT_LEASE).await;
        self.left.extend(stay.into_iter().map(|message| (message.id, message.handle)));
        self.taker.give_back(&kept).await;
        if !moved.is_empty() {
            let deleted = self.taker.delete(&moved).await?;
            self.moved += deleted as u64;
            tracing::debug!(events = deleted, "moved");
        }
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    }
}

/// `known`: that it cannot be moved.
async fn publish(publisher: &Publisher, message: Taken, known: bool) -> Outcome {
    let event: &Event = match &message.event {
        Ok(_) if known => return Outcome::Stays(message, "it could not be moved before".into()),
        Ok(event) => event,
        Err(undecodable) => {
            let why = undecodable.to_string().into();
            return Outcome::Stays(message, why);
        }
    };
    match publisher.publish(event, Instant::now() + PUBLISH_TIMEOUT).await {
        Ok(()) => Outcome::Moved(message),
        Err(error) if concerns_the_event(&error) => Outcome::Stays(message, error.into()),
        Err(error) => Outcome::Failed(message, error),
    }
}
