//! What was received and the app has not taken yet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::subscribe::{Delivery, Received};

/// What waits for the app. Of the messages of one group, which SQS hands out together, only the first does.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    ready: VecDeque<Delivery>,
    suspects: VecDeque<Delivery>,
    /// Whether the app was told of the suspects, and has not asked for them since.
    announced: bool,
    /// Whether nothing is wanted.
    is_closed: bool,
    groups: HashMap<String, Group>,
}

/// A group of which we hold messages.
#[derive(Debug)]
struct Group {
    /// The one whose turn it is.
    turn: u64,
    behind: VecDeque<Arrival>,
}

/// A delivery, and what decides where it goes.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) key: u64,
    pub(super) suspect: bool,
    pub(super) group: Option<String>,
    pub(super) delivery: Delivery,
}

impl Waiting {
    fn put(&mut self, arrival: Arrival) {
        if arrival.suspect {
            self.suspects.push_back(arrival.delivery);
        } else {
            self.ready.push_back(arrival.delivery);
        }
    }
}

impl Inbox {
    /// Returns what is not wanted.
    pub(super) fn put(&self, arrival: Arrival) -> Option<Arrival> {
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return Some(arrival);
        }
        if let Some(group) = &arrival.group {
            if let Some(group) = waiting.groups.get_mut(group) {
                group.behind.push_back(arrival);
                return None;
            }
            waiting.groups.insert(group.clone(), Group { turn: arrival.key, behind: VecDeque::new() });
        }
        waiting.put(arrival);
        drop(waiting);
        self.arrived.notify_one();
        None
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

    fn try_take(&self) -> Option<Received> {
        let mut waiting = self.waiting();
        if !waiting.suspects.is_empty() && !waiting.announced {
            waiting.announced = true;
            return Some(Received::Suspects);
        }
        waiting.ready.pop_front().map(Received::Delivery)
    }

    pub(super) fn take_suspect(&self) -> Option<Delivery> {
        let mut waiting = self.waiting();
        waiting.announced = false;
        waiting.suspects.pop_front()
    }

    /// The next of the group has its turn if this one is gone. If it is not, nobody has, and what was behind it is returned:
    /// SQS hands it out again after it.
    pub(super) fn end_turn(&self, group: &str, key: u64, is_gone: bool) -> Vec<Delivery> {
        let mut waiting = self.waiting();
        let Some(members) = waiting.groups.get_mut(group).filter(|members| members.turn == key) else {
            return Vec::new();
        };
        let behind = if is_gone && let Some(next) = members.behind.pop_front() {
            members.turn = next.key;
            waiting.put(next);
            VecDeque::new()
        } else {
            waiting.groups.remove(group).map(|members| members.behind).unwrap_or_default()
        };
        drop(waiting);
        self.arrived.notify_one();
        behind.into_iter().map(|arrival| arrival.delivery).collect()
    }

    /// Everything that the app has not taken. From here on nothing is wanted, until [`open`](Inbox::open).
    pub(super) fn close(&self) -> Vec<Delivery> {
        let mut waiting = self.waiting();
        let Waiting { ready, suspects, groups, .. } = std::mem::take(&mut *waiting);
        waiting.is_closed = true;
        let mut all: Vec<Delivery> = ready.into_iter().chain(suspects).collect();
        for (name, members) in groups {
            // Whoever has the turn may still be with the app.
            waiting.groups.insert(name, Group { turn: members.turn, behind: VecDeque::new() });
            all.extend(members.behind.into_iter().map(|arrival| arrival.delivery));
        }
        all
    }

    pub(super) fn open(&self) {
        self.waiting().is_closed = false;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::event::Event;
    use crate::sqs::Lease;
    use crate::subscribe;

    fn arrival(key: u64, suspect: bool, group: Option<&str>) -> Arrival {
        let delivery = Delivery {
            event: Arc::new(Event::new("shop", "order", "x")),
            attempt: 1,
            crashes: 0,
            first_received: SystemTime::now(),
            lease: subscribe::Lease::Sqs(Lease::used()),
        };
        Arrival { key, suspect, group: group.map(str::to_owned), delivery }
    }

    #[test]
    fn what_arrives_while_nothing_is_wanted_is_returned() {
        let inbox = Inbox::default();
        let kinds = [(false, None), (true, None), (false, Some("a")), (false, Some("a"))];
        let put =
            || (0..).zip(kinds).filter_map(|(key, (suspect, group))| inbox.put(arrival(key, suspect, group))).count();
        assert_eq!(put(), 0);
        assert_eq!(inbox.close().len(), kinds.len());
        assert_eq!(put(), kinds.len());
        assert!(inbox.try_take().is_none() && inbox.take_suspect().is_none());
        inbox.open();
        assert_eq!(put(), 0);
        assert!(matches!(inbox.try_take(), Some(Received::Suspects)));
        assert!(inbox.take_suspect().is_some());
        assert!(matches!(inbox.try_take(), Some(Received::Delivery(_))));
    }
}
