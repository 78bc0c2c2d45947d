//! Moving dead letters back to the queue.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::keeper::{Keeper, Wanted};
use super::message::Outgoing;
use super::take::{BATCH, Taken, Taker};
use crate::BoxError;
use crate::publish::PublishError;
use crate::subscribe::ReplayError;

/// How long the queue of dead letters is asked when it seems empty: one that is asked for a moment only may not look
/// everywhere.
const WAIT: Duration = Duration::from_secs(1);
/// How long nobody else sees what is being moved. It must suffice for a batch, one event after another.
const LEASE: Duration = Duration::from_secs(60);

/// Moves up to `most`, but none that arrives meanwhile: what fails again must not go round for ever.
pub(super) async fn replay(keeper: Arc<Keeper>, most: usize) -> Result<usize, ReplayError> {
    let _closing_waits = keeper.tasks.token();
    let mut replay = Replay {
        taker: Taker { client: keeper.dead.clone() },
        keeper: &keeper,
        begun: SystemTime::now(),
        moved: 0,
        left: Vec::new(),
    };
    let outcome = replay.run(most).await;
    let moved = replay.moved;
    for batch in replay.left.chunks(BATCH) {
        replay.taker.give_back(batch).await;
    }
    match outcome {
        Ok(()) if replay.goes_on() || moved == most => Ok(moved),
        Ok(()) => Err(ReplayError::closed(moved)),
        Err(source) => Err(ReplayError { moved, source }),
    }
}

/// One run: what it moved, and what it took and leaves.
struct Replay<'a> {
    keeper: &'a Keeper,
    taker: Taker,
    begun: SystemTime,
    moved: usize,
    left: Vec<Taken>,
}

impl Replay<'_> {
    fn goes_on(&self) -> bool {
        *self.keeper.wanted.borrow() != Wanted::Close
    }

    async fn run(&mut self, most: usize) -> Result<(), BoxError> {
        let waiting = match self.taker.count().await {
            Err(PublishError::Unroutable(_)) => 0,
            count => count?,
        };
        let most = most.min(usize::try_from(waiting).unwrap_or(usize::MAX));
        while self.moved < most && self.goes_on() {
            let batch = self.taker.take(most - self.moved, WAIT, LEASE).await?;
            if batch.is_empty() {
                break;
            }
            let (old, new): (Vec<_>, Vec<_>) = batch.into_iter().partition(|dead| dead.sent <= self.begun);
            self.left.extend(new);
            self.move_batch(old).await?;
        }
        Ok(())
    }

    /// Puts each on the main queue, and deletes those that it has taken.
    async fn move_batch(&mut self, batch: Vec<Taken>) -> Result<(), BoxError> {
        let (mut put, mut failure) = (Vec::new(), None);
        for dead in batch {
            if failure.is_some() || !self.goes_on() {
                self.left.push(dead);
                continue;
            }
            let message = Outgoing::revived(&dead);
            match message.put(&self.keeper.taker.client).await {
                Ok(()) => put.push(dead),
                Err(error) => {
                    failure = Some(error);
                    self.left.push(dead);
                }
            }
        }
        if !put.is_empty() {
            self.moved += self.taker.delete(&put).await?;
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}
