//! What becomes of a message that has just been received: it goes to the app, waits on, or has waited for too long.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::inbox::Arrival;
use super::keeper::Keeper;
use super::lease::{Hold, Lease};
use super::message::Outgoing;
use super::suspicion::{Judged, LetGo};
use super::take::Taken;
use crate::env::written;
use crate::event::Event;
use crate::moment::Moment;
use crate::subscribe::{self, DeadLetter, Delivery, Reason, Settlement};

impl Keeper {
    /// Sorts a batch that was asked for at that time.
    pub(super) fn sort(self: &Arc<Keeper>, batch: Vec<Taken>, asked: Moment) {
        for taken in batch {
            // Ours until now: nobody has noticed yet that its lease has lapsed.
            if let Some(lapsed) = self.leases.of_message(&taken.id) {
                self.lose(&lapsed);
            }
            let Judged { attempt, suspect, due, first_received, begun } = self.known.judge(&taken, self.is_fifo());
            let waiting_since = due.unwrap_or(taken.sent).max(taken.sent);
            let hold = self.leases.hold(asked, |key| {
                let (given, crashes) = (AtomicBool::new(begun), OnceLock::new());
                Hold { key, taken, attempt, first_received, suspect, received: asked, given, crashes }
            });
            if let Some(left) = due.and_then(|due| due.duration_since(SystemTime::now()).ok()) {
                self.set_aside(hold, left);
            } else if waiting_since.elapsed().is_ok_and(|waited| waited >= self.ttl) {
                self.expire(hold);
            } else {
                self.arrived(hold);
            }
        }
    }

    fn arrived(self: &Arc<Keeper>, hold: Arc<Hold>) {
        let event = match &hold.taken.event {
            Ok(event) => event.clone(),
            Err(_) => unknown(&hold.taken),
        };
        let lease = subscribe::Lease::Sqs(Lease::new(Arc::clone(self), Arc::clone(&hold)));
        let (attempt, first_received) = (hold.attempt, hold.first_received);
        let delivery = Delivery { event: Arc::new(event), attempt, crashes: 0, first_received, lease };
        let group = self.group_of(&hold).map(str::to_owned);
        let arrival = Arrival { key: hold.key, suspect: hold.suspect, group, delivery };
        // Dropped, it is handed back.
        drop(self.inbox.put(arrival));
    }

    /// Lets an event wait on that is not due: a delay longer than SQS knows. That counts as no attempt.
    fn set_aside(self: &Arc<Keeper>, hold: Arc<Hold>, left: Duration) {
        let keeper = Arc::clone(self);
        self.tasks.spawn(async move {
            let due = Some(SystemTime::now() + left);
            let aside = match keeper.replace(&hold, &Outgoing::again(&hold.taken)).await {
                Ok(false) => keeper.hide(&hold, left, LetGo { due, ..LetGo::of(&hold) }).await,
                replaced => replaced.map(|_| ()),
            };
            keeper.done_with(&hold, aside.is_ok().then_some(&Settlement::Release));
        });
    }

    fn expire(self: &Arc<Keeper>, hold: Arc<Hold>) {
        let keeper = Arc::clone(self);
        self.tasks.spawn(async move {
            let error = format!("nobody took it for {}", written(keeper.ttl));
            let letter = DeadLetter { reason: Reason::Expired, error, handler: None };
            // The delivery that did not take place is no attempt.
            let attempts = hold.attempt.saturating_sub(1);
            let message = Outgoing::dead(&hold.taken, attempts, hold.first_received, &letter);
            let moved = keeper.move_to(&hold, &keeper.dead, &message).await;
            keeper.done_with(&hold, moved.is_ok().then_some(&Settlement::DeadLetter(letter)));
        });
    }
}

/// A message that no forwarder has written is still an event.
pub(super) fn unknown(taken: &Taken) -> Event {
    let attributes = [("id".to_owned(), taken.id.clone())].into();
    Event::from_attributes(attributes, taken.sent, Bytes::from(taken.body.clone()))
}
