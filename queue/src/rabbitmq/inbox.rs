//! What was received and the app has not taken yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::subscribe::is_lost;
use crate::subscribe::Received;

/// Never holds more than the prefetch, because what a broken connection had delivered is thrown out: the broker
/// delivers it again.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<VecDeque<Received>>,
    arrived: Notify,
}

impl Inbox {
    pub(super) fn put(&self, received: Received) {
        self.waiting().push_back(received);
        self.arrived.notify_one();
    }

    /// Dropping the future loses nothing.
    pub(super) async fn take(&self) -> Received {
        loop {
            if let Some(received) = self.try_take() {
                return received;
            }
            self.arrived.notified().await;
        }
    }

    pub(super) fn try_take(&self) -> Option<Received> {
        self.waiting().pop_front()
    }

    /// Throws out what came over a connection that is gone.
    pub(super) fn forget_lost(&self) {
        self.waiting().retain(|received| !matches!(received, Received::Delivery(delivery) if is_lost(delivery)));
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Received>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
