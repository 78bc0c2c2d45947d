//! The hold on one delivery, and the ways to let go of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::time::Instant;

use super::generation::Generation;
use super::wire::{self, Message};
use crate::publish::PublishError;
use crate::subscribe::{LeaseLost, Settlement};
use crate::topology::Topology;

/// How long one try to put an event back may take, before it is logged and tried again.
const PUT_BACK_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two tries, growing up to the second.
const PUT_BACK_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A delivery that is not settled yet. Dropped, it is handed back.
pub(crate) struct Lease {
    /// Taken out when it is settled.
    hold: Option<Box<Hold>>,
}

/// What is needed to settle one delivery.
pub(super) struct Hold {
    pub(super) generation: Arc<Generation>,
    pub(super) message: Message,
    pub(super) attempt: u32,
    pub(super) first_received: SystemTime,
    pub(super) ack: AckBy,
}

/// How the broker is told that it can forget a delivery.
pub(super) enum AckBy {
    /// By its tag on the consuming channel, together with others.
    Tag(u64),
    /// By itself, on the channel that it was fetched on.
    Acker(lapin::Acker),
}

impl Lease {
    pub(super) fn new(hold: Hold) -> Lease {
        Lease { hold: Some(Box::new(hold)) }
    }

    /// Whether the channel that delivered it is gone, and so whoever is next has it.
    pub(super) fn is_lost(&self) -> bool {
        self.hold.as_ref().is_none_or(|hold| hold.is_lost())
    }

    pub(crate) async fn settle(mut self, settlement: Settlement) -> Result<(), LeaseLost> {
        // The hold stays where it is meanwhile: should this future be dropped before the end, the event is handed back.
        let Some(hold) = &self.hold else { return Err(LeaseLost) };
        if settlement == Settlement::Release && hold.is_orphaned() {
            // The queue may be away for long, and nobody is to wait for that: dropped, it is put back when it can be.
            return Ok(());
        }
        let outcome = hold.settle(settlement).await;
        self.hold = None;
        outcome
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("is_lost", &self.is_lost()).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.generation.clone().hand_back(*hold);
        }
    }
}

impl Hold {
    fn is_lost(&self) -> bool {
        self.generation.is_over() && !self.is_orphaned()
    }

    /// A suspect is never: it has a queue of its own.
    fn is_orphaned(&self) -> bool {
        matches!(self.ack, AckBy::Tag(_)) && self.generation.is_orphaned()
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), LeaseLost> {
        let topology = &self.generation.topology;
        match settlement {
            Settlement::Ack => self.ack().await,
            Settlement::Retry { after } => {
                let message = wire::retry(&self.message, self.attempt, self.first_received, after);
                self.move_to(&topology.retry_queue(Topology::retry_tier(after)), &message).await
            }
            Settlement::DeadLetter(dead_letter) => {
                let message = wire::dead(&self.message, self.attempt, self.first_received, &dead_letter);
                self.move_to(&topology.dead_queue(), &message).await
            }
            Settlement::Release => self.release().await,
        }
    }

    async fn ack(&self) -> Result<(), LeaseLost> {
        match &self.ack {
            AckBy::Tag(tag) => self.generation.settle(*tag),
            AckBy::Acker(acker) => match acker.ack(BasicAckOptions::default()).await {
                Ok(true) => Ok(()),
                // `false` is how lapin says that the channel is gone.
                Ok(false) | Err(_) => Err(LeaseLost),
            },
        }
    }

    /// Puts `message` on `queue`, and only then acks the original. A crash in between makes a duplicate.
    pub(super) async fn move_to(&self, queue: &str, message: &Message) -> Result<(), LeaseLost> {
        let (mut pause, longest) = PUT_BACK_PAUSES;
        loop {
            if self.is_lost() {
                return Err(LeaseLost);
            }
            let error = match self.put(queue, message).await {
                Ok(()) => return self.ack().await,
                Err(error) => error,
            };
            tracing::warn!(queue.name = queue, error = %error, "an event cannot be put back yet; trying again");
            if matches!(error, PublishError::Unroutable(_)) {
                self.generation.assert_topology();
            }
            self.generation.sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Puts the event back as it is. By a publish and not by a requeue: to the broker a requeued event looks as if its
    /// holder had crashed, and the next consumer would run it alone.
    pub(super) async fn release(&self) -> Result<(), LeaseLost> {
        if self.generation.is_over() {
            return Err(LeaseLost);
        }
        let topology = &self.generation.topology;
        let (queue, message) = match &self.ack {
            AckBy::Tag(_) => (topology.queue.clone(), wire::again(&self.message)),
            AckBy::Acker(_) => (topology.suspect_queue(), wire::suspect_again(&self.message)),
        };
        match self.put(&queue, &message).await {
            Ok(()) => self.ack().await,
            Err(_) => self.requeue().await,
        }
    }

    /// As [`Hold::release`], for as long as it takes.
    pub(super) async fn put_back(&self) -> Result<(), LeaseLost> {
        let (queue, message) = (self.generation.topology.queue.clone(), wire::again(&self.message));
        self.move_to(&queue, &message).await
    }

    async fn requeue(&self) -> Result<(), LeaseLost> {
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        match &self.ack {
            AckBy::Tag(tag) => self.generation.requeue(*tag, options).await,
            AckBy::Acker(acker) => match acker.nack(options).await {
                Ok(true) => Ok(()),
                Ok(false) | Err(_) => Err(LeaseLost),
            },
        }
    }

    async fn put(&self, queue: &str, message: &Message) -> Result<(), PublishError> {
        self.generation.pool.publish("", queue, message, Instant::now() + PUT_BACK_TIMEOUT).await
    }
}
