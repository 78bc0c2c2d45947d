//! Budgets: how many requests, and how many bytes of their bodies, are in memory at a time.
//!
//! Whoever finds a budget used up waits. Nobody waits for bytes while holding bytes that others wait for, so nobody
//! waits for ever: a request has a small buffer of its own from the start, and asks at most once for more, for all
//! that it can ever need. Small webhooks therefore never queue behind large ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One part of `MAX_IN_FLIGHT_BYTES` in this many is shared out evenly as the requests' own buffers.
const OWN_PART: usize = 4;

/// Both budgets.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    own_bytes: usize,
}

/// The room that one request takes. Dropping it makes room for others.
#[derive(Debug)]
pub(crate) struct Admitted {
    _request: OwnedSemaphorePermit,
    bytes: Option<OwnedSemaphorePermit>,
    pool: Arc<Semaphore>,
    own_bytes: usize,
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
    pub(crate) fn new(max_in_flight: usize, max_in_flight_bytes: usize) -> Admission {
        let own_bytes = own_bytes(max_in_flight, max_in_flight_bytes);
        let shared = (max_in_flight_bytes - own_bytes * max_in_flight).min(Semaphore::MAX_PERMITS);
        Admission {
            requests: Arc::new(Semaphore::new(max_in_flight)),
            bytes: Arc::new(Semaphore::new(shared)),
            own_bytes,
        }
    }

    /// Waits until one more request may be taken. `None` never happens: the budgets are never closed.
    pub(crate) async fn admit(&self) -> Option<Admitted> {
        let request = self.requests.clone().acquire_owned().await.ok()?;
        Some(Admitted { _request: request, bytes: None, pool: self.bytes.clone(), own_bytes: self.own_bytes })
    }
}

impl Admitted {
    /// Whether a body of this many bytes fits what the request holds.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        bytes <= self.own_bytes || self.bytes.as_ref().is_some_and(|permit| bytes <= permit.num_permits())
    }

    /// Waits until a body of this many bytes fits. Called at most once per request.
    pub(crate) async fn make_room_for(&mut self, bytes: usize) {
        if !self.has_room_for(bytes) {
            let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.bytes = self.pool.clone().acquire_many_owned(permits).await.ok();
        }
    }

    /// Gives back what a body of this many bytes does not need.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if bytes <= self.own_bytes {
            self.bytes = None;
        } else if let Some(permit) = &mut self.bytes {
            drop(permit.split(permit.num_permits().saturating_sub(bytes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn small_requests_pass_while_large_ones_wait() {
        let admission = Admission::new(4, 160);
        let mut large = admission.admit().await.unwrap();
        timeout(SHORT, large.make_room_for(120)).await.unwrap();
        let mut second = admission.admit().await.unwrap();
        assert!(timeout(SHORT, second.make_room_for(11)).await.is_err());
        assert!(second.has_room_for(10));
        large.shrink_to(50);
        timeout(SHORT, second.make_room_for(70)).await.unwrap();
        drop(large);
        let mut third = admission.admit().await.unwrap();
        timeout(SHORT, third.make_room_for(50)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted() {
        let admission = Admission::new(1, 100);
        let first = admission.admit().await;
        assert!(timeout(SHORT, admission.admit()).await.is_err());
        drop(first);
        assert!(timeout(SHORT, admission.admit()).await.is_ok());
    }

    #[test]
    fn the_largest_body_is_what_is_left_beside_the_own_buffers() {
        assert_eq!(largest_body(1024, 64 << 20), 48 << 20);
        assert_eq!(largest_body(1024, 100), 100);
    }
}
