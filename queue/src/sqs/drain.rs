//! Moving everything to another queue.

use std::collections::HashSet;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::take::{BATCH, Taken, Taker};
use super::wire;
use crate::BoxError;
use crate::config::QueueConfig;
use crate::drain::{Progress, cannot_be_moved};
use crate::event::Event;
use crate::publish::{Publish, PublishError, Publisher};

/// How long an empty queue is asked for messages: one that is asked for a moment only may not look everywhere.
const WAIT: Duration = Duration::from_secs(2);
/// How long nobody else sees what is being moved. It must suffice for a batch, one event after another.
const LEASE: Duration = Duration::from_secs(30);
/// How long the first queue has for one event.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// So many messages that cannot be moved are walked around; then somebody has to look.
const MOST_LEFT: usize = 1000;

/// One run: what it moved, and what it cannot move.
struct Drain<'a> {
    taker: Taker,
    publisher: &'a Publisher,
    moved: u64,
    /// SQS's ids of messages that stay, and why the first of them does.
    left: HashSet<String>,
    why: Option<BoxError>,
}

/// What became of one message.
enum Outcome {
    Moved(Taken),
    /// Something is wrong with the message itself.
    Stays(Taken, BoxError),
    /// Something is wrong with the queue that it was to be moved to.
    Failed(Taken, PublishError),
}

/// Publishes every message to another queue, and deletes it here once that has confirmed.
pub(crate) async fn drain(config: &QueueConfig, url: &str, publisher: &Publisher) -> Progress {
    let taker = match Taker::open(config, url) {
        Ok(taker) => taker,
        Err(error) => return Progress { moved: 0, end: Err(error.into()) },
    };
    let mut drain = Drain { taker, publisher, moved: 0, left: HashSet::new(), why: None };
    let end = drain.run().await;
    let end = end.and_then(|()| drain.why.take().map_or(Ok(()), |why| Err(cannot_be_moved(drain.left.len(), &*why))));
    Progress { moved: drain.moved, end }
}

impl Drain<'_> {
    async fn run(&mut self) -> Result<(), BoxError> {
        loop {
            let batch = self.taker.take(BATCH, WAIT, LEASE).await?;
            if batch.is_empty() {
                let count = self.taker.count().await?;
                if count <= self.left.len() as u64 {
                    return Ok(());
                }
                tracing::info!(events = count, "waiting for {count} messages that somebody else holds");
                continue;
            }
            if batch.iter().all(|message| self.left.contains(&message.id)) || self.left.len() > MOST_LEFT {
                self.taker.give_back(&batch).await;
                return Ok(());
            }
            self.take_over(batch).await?;
        }
    }

    async fn take_over(&mut self, batch: Vec<Taken>) -> Result<(), BoxError> {
        let outcomes = if self.taker.is_fifo() { self.one_by_one(batch).await } else { self.together(batch).await };
        let (mut moved, mut kept, mut failure) = (Vec::new(), Vec::new(), None);
        for outcome in outcomes {
            match outcome {
                Outcome::Moved(message) => moved.push(message),
                Outcome::Stays(message, why) => {
                    self.left.insert(message.id);
                    self.why.get_or_insert(why);
                }
                Outcome::Failed(message, error) => {
                    kept.push(message);
                    failure.get_or_insert(error);
                }
            }
        }
        if !moved.is_empty() {
            let deleted = self.taker.delete(&moved).await?;
            self.moved += deleted as u64;
            tracing::debug!(events = deleted, "moved");
        }
        match failure {
            Some(failure) => {
                self.taker.give_back(&kept).await;
                Err(failure.into())
            }
            None => Ok(()),
        }
    }

    async fn together(&self, batch: Vec<Taken>) -> Vec<Outcome> {
        let mut tasks = JoinSet::new();
        for message in batch {
            let publisher = self.publisher.clone();
            tasks.spawn(async move { publish(&publisher, message).await });
        }
        tasks.join_all().await
    }

    /// In the order of the queue. Behind an event that is not moved the rest of its group waits.
    async fn one_by_one(&self, batch: Vec<Taken>) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut held: HashSet<String> = HashSet::new();
        for message in batch {
            let group = message.event.as_ref().map(wire::group).unwrap_or_default();
            let outcome = if held.contains(&group) {
                Outcome::Stays(message, "an event before it in its group cannot be moved".into())
            } else {
                publish(self.publisher, message).await
            };
            if !matches!(outcome, Outcome::Moved(_)) {
                held.insert(group);
            }
            outcomes.push(outcome);
        }
        outcomes
    }
}

async fn publish(publisher: &Publisher, message: Taken) -> Outcome {
    let event: &Event = match &message.event {
        Ok(event) => event,
        Err(undecodable) => {
            let why = undecodable.to_string().into();
            return Outcome::Stays(message, why);
        }
    };
    match publisher.publish(event, Instant::now() + PUBLISH_TIMEOUT).await {
        Ok(()) => Outcome::Moved(message),
        Err(error @ PublishError::TooLarge { .. }) => Outcome::Stays(message, error.into()),
        Err(error) => Outcome::Failed(message, error),
    }
}
