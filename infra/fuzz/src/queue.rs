//! A queue that keeps what it confirms, and does as the input says.

use std::cell::RefCell;

use tokio::time::Instant;
use webhook_queue::{Event, Publish, PublishError, Readiness};

/// What the queue does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Confirmed,
    Refused,
    TimedOut,
    Unroutable,
    TooLarge,
}

thread_local! {
    static OUTCOME: RefCell<Outcome> = const { RefCell::new(Outcome::Confirmed) };
    static EVENTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

/// From here on this thread's events meet this outcome.
pub(crate) fn begin(outcome: Outcome) {
    OUTCOME.set(outcome);
    EVENTS.take();
}

/// What was confirmed since. One request is one event.
pub(crate) fn end() -> Option<Event> {
    let mut events = EVENTS.take();
    assert!(events.len() <= 1, "one request was published {} times", events.len());
    events.pop()
}

#[derive(Clone, Debug)]
pub(crate) struct Memory;

impl Publish for Memory {
    async fn publish(&self, event: &Event, _: Instant) -> Result<(), PublishError> {
        match OUTCOME.with_borrow(|outcome| *outcome) {
            Outcome::Confirmed => {
                EVENTS.with_borrow_mut(|events| events.push(event.clone()));
                Ok(())
            }
            Outcome::Refused => Err(PublishError::Refused("full".to_owned())),
            Outcome::TimedOut => Err(PublishError::TimedOut),
            Outcome::Unroutable => Err(PublishError::Unroutable("no queue".to_owned())),
            Outcome::TooLarge => Err(PublishError::TooLarge { limit: 1 }),
        }
    }

    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    fn max_body_bytes(&self) -> usize {
        usize::MAX
    }

    async fn close(&self) {}
}
