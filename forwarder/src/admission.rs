//! Budgets: how many requests, and how many bytes of their bodies, are in memory at a time.
//!
//! Whoever finds a budget used up waits, for a while. Nobody who has bytes of the pool waits for more: a request has a small
//! buffer of its own from the start, and asks at most once for more, for all that it can ever need. Small webhooks therefore
//! never queue behind large ones. No source takes all the room from the others, whoever holds its requests up: what is large
//! waits for its source's share first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::answer::Refusal;

/// One part of `MAX_IN_FLIGHT_BYTES` in this many is shared out evenly as the requests' own buffers.
const OWN_PART: usize = 4;
/// One part of the rest in this many is the most that one of several sources holds, if its largest body is no larger.
const SOURCES_PART: usize = 2;

/// Both budgets.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    own_bytes: usize,
    /// What each source may hold of the bytes.
    shares: Vec<(String, Arc<Semaphore>)>,
}

/// The room that one request takes. Dropping it makes room for others.
#[derive(Debug)]
pub(crate) struct Admitted {
    _request: OwnedSemaphorePermit,
    bytes: Option<Bytes>,
    share: Arc<Semaphore>,
    pool: Arc<Semaphore>,
    own_bytes: usize,
    waiting: Waiting,
}

/// For how long a request has waited for room, and may at most.
#[derive(Debug)]
struct Waiting {
    waited: Duration,
    most: Duration,
}

/// Bytes of both the source's share and the pool.
#[derive(Debug)]
struct Bytes {
    of_share: OwnedSemaphorePermit,
    of_pool: OwnedSemaphorePermit,
}

/// The largest body that these budgets can ever admit.
pub(crate) fn largest_body(max_in_flight: usize, max_in_flight_bytes: usize) -> usize {
    let shared = max_in_flight_bytes - own_bytes(max_in_flight, max_in_flight_bytes) * max_in_flight;
    shared.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS)
}

fn own_bytes(max_in_flight: usize, max_in_flight_bytes: usize) -> usize {
    max_in_flight_bytes / OWN_PART / max_in_flight
}

impl Admission {
    /// For these sources, whose bodies have at most `max_body_bytes`.
    pub(crate) fn new<'a>(
        max_in_flight: usize,
        max_in_flight_bytes: usize,
        max_body_bytes: usize,
        sources: impl ExactSizeIterator<Item = &'a str>,
    ) -> Admission {
        let shared = largest_body(max_in_flight, max_in_flight_bytes);
        let share = if sources.len() > 1 { max_body_bytes.max(shared / SOURCES_PART).min(shared) } else { shared };
        Admission {
            requests: Arc::new(Semaphore::new(max_in_flight)),
            bytes: Arc::new(Semaphore::new(shared)),
            own_bytes: own_bytes(max_in_flight, max_in_flight_bytes),
            shares: sources.map(|source| (source.to_owned(), Arc::new(Semaphore::new(share)))).collect(),
        }
    }

    /// Waits until one more request of this source may be taken: all in all, it waits for so long at most.
    pub(crate) async fn admit(&self, source: &str, most: Duration) -> Result<Admitted, Refusal> {
        let mut waiting = Waiting { waited: Duration::ZERO, most };
        // Every source that there is has its share.
        let share = self.shares.iter().find_map(|(name, share)| (name == source).then(|| Arc::clone(share)));
        let share = share.ok_or(Refusal::Overloaded)?;
        let request = waiting.acquire(&self.requests, 1).await?;
        let (pool, own_bytes) = (Arc::clone(&self.bytes), self.own_bytes);
        Ok(Admitted { _request: request, bytes: None, share, pool, own_bytes, waiting })
    }
}

impl Waiting {
    async fn acquire(&mut self, semaphore: &Arc<Semaphore>, permits: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let (began, permits) = (Instant::now(), u32::try_from(permits).unwrap_or(u32::MAX));
        let patience = self.most.saturating_sub(self.waited);
        let acquired = timeout(patience, Arc::clone(semaphore).acquire_many_owned(permits)).await;
        self.waited += began.elapsed();
        // It is never closed.
        acquired.ok().and_then(Result::ok).ok_or(Refusal::Overloaded)
    }
}

impl Admitted {
    /// Whether a body of this many bytes fits what the request holds.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        bytes <= self.own_bytes || self.bytes.as_ref().is_some_and(|held| bytes <= held.of_pool.num_permits())
    }

    /// Waits until a body of this many bytes fits. Called at most once per request.
    pub(crate) async fn make_room_for(&mut self, bytes: usize) -> Result<(), Refusal> {
        if !self.has_room_for(bytes) {
            // In this order: who waits for the pool keeps nobody of another source waiting.
            let of_share = self.waiting.acquire(&self.share, bytes).await?;
            let of_pool = self.waiting.acquire(&self.pool, bytes).await?;
            self.bytes = Some(Bytes { of_share, of_pool });
        }
        Ok(())
    }

    /// For how long it has waited.
    pub(crate) fn waited(&self) -> Duration {
        self.waiting.waited
    }

    /// Gives back what a body of this many bytes does not need.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if bytes <= self.own_bytes {
            self.bytes = None;
        } else if let Some(Bytes { of_share, of_pool }) = &mut self.bytes {
            for held in [of_share, of_pool] {
                drop(held.split(held.num_permits().saturating_sub(bytes)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    async fn room(admission: &Admission, source: &str, bytes: usize) -> Option<Admitted> {
        let mut admitted = admission.admit(source, SHORT).await.ok()?;
        admitted.make_room_for(bytes).await.ok()?;
        Some(admitted)
    }

    #[tokio::test(start_paused = true)]
    async fn small_requests_pass_while_large_ones_wait() {
        let admission = Admission::new(4, 160, 120, ["shop"].into_iter());
        let mut large = room(&admission, "shop", 120).await.unwrap();
        assert!(room(&admission, "shop", 11).await.is_none());
        let _small = room(&admission, "shop", 10).await.unwrap();
        large.shrink_to(50);
        let _second = room(&admission, "shop", 70).await.unwrap();
        drop(large);
        room(&admission, "shop", 50).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_source_leaves_room_for_the_others() {
        let admission = Admission::new(8, 160, 60, ["shop", "bikes"].into_iter());
        let shop = room(&admission, "shop", 60).await.unwrap();
        assert!(room(&admission, "shop", 21).await.is_none());
        let bikes = room(&admission, "bikes", 60).await.unwrap();
        drop((shop, bikes));
        // As much as the largest body, even if that is more than a part.
        let admission = Admission::new(8, 160, 100, ["shop", "bikes"].into_iter());
        room(&admission, "shop", 100).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted() {
        let admission = Admission::new(1, 100, 50, ["shop"].into_iter());
        let first = room(&admission, "shop", 0).await;
        assert!(room(&admission, "shop", 0).await.is_none());
        drop(first);
        assert!(room(&admission, "shop", 0).await.is_some());
    }

    #[test]
    fn the_largest_body_is_what_is_left_beside_the_own_buffers() {
        assert_eq!(largest_body(1024, 64 << 20), 48 << 20);
        assert_eq!(largest_body(1024, 100), 100);
    }
}
