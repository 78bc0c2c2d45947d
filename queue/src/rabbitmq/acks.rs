//! Which deliveries of one channel are settled, and the fewest acks that say so.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long a settled delivery waits for those before it. After that it is acked by itself, so that one slow handler
/// does not hold up the acks of all others.
pub(super) const ACK_ALONE_AFTER: Duration = Duration::from_millis(50);

/// The deliveries of one channel that are not acked yet, by delivery tag.
#[derive(Debug, Default)]
pub(super) struct Acks {
    unacked: BTreeMap<u64, Hold>,
    settled: usize,
}

#[derive(Debug)]
struct Hold {
    id: String,
    settled: Option<Instant>,
}

/// Acks to send now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Flush {
    /// Ack this tag and all before it.
    pub(super) up_to: Option<u64>,
    /// Ack each of these.
    pub(super) alone: Vec<u64>,
}

impl Acks {
    /// A delivery has arrived.
    pub(super) fn hold(&mut self, tag: u64, id: String) {
        self.unacked.insert(tag, Hold { id, settled: None });
    }

    /// A delivery is to be acked. Says how many now wait for their ack.
    pub(super) fn settle(&mut self, tag: u64, now: Instant) -> usize {
        if let Some(hold) = self.unacked.get_mut(&tag).filter(|hold| hold.settled.is_none()) {
            hold.settled = Some(now);
            self.settled += 1;
        }
        self.settled
    }

    /// A delivery was given back to the broker by itself, and needs no ack any more.
    pub(super) fn forget(&mut self, tag: u64) {
        if self.unacked.remove(&tag).is_some_and(|hold| hold.settled.is_some()) {
            self.settled -= 1;
        }
    }

    /// Takes what can be acked: all that are settled without a gap from the oldest on, and later ones that have waited
    /// for [`ACK_ALONE_AFTER`].
    pub(super) fn flush(&mut self, now: Instant) -> Flush {
        let mut flush = Flush::default();
        while let Some(entry) = self.unacked.first_entry().filter(|entry| entry.get().settled.is_some()) {
            flush.up_to = Some(*entry.key());
            entry.remove();
            self.settled -= 1;
        }
        if self.settled > 0 {
            let waited = |hold: &Hold| hold.settled.is_some_and(|at| now.duration_since(at) >= ACK_ALONE_AFTER);
            flush.alone = self.unacked.iter().filter(|(_, hold)| waited(hold)).map(|(tag, _)| *tag).collect();
            for tag in &flush.alone {
                self.unacked.remove(tag);
            }
            self.settled -= flush.alone.len();
        }
        flush
    }

    /// Whether settled deliveries wait for older ones.
    pub(super) fn any_settled(&self) -> bool {
        self.settled > 0
    }

    /// The ids of all that are not acked.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.unacked.values().map(|hold| hold.id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(tags: std::ops::RangeInclusive<u64>) -> Acks {
        let mut acks = Acks::default();
        tags.for_each(|tag| acks.hold(tag, tag.to_string()));
        acks
    }

    #[test]
    fn what_is_settled_without_a_gap_is_one_ack() {
        let mut acks = holding(1..=5);
        let now = Instant::now();
        [2, 1, 3, 5].into_iter().for_each(|tag| _ = acks.settle(tag, now));
        assert_eq!(acks.flush(now), Flush { up_to: Some(3), alone: vec![] });
        assert!(acks.any_settled());
    }

    #[test]
    fn behind_a_gap_each_is_acked_alone_after_a_while() {
        let mut acks = holding(1..=4);
        let now = Instant::now();
        [2, 4].into_iter().for_each(|tag| _ = acks.settle(tag, now));
        assert_eq!(acks.flush(now), Flush::default());
        assert_eq!(acks.flush(now + ACK_ALONE_AFTER), Flush { up_to: None, alone: vec![2, 4] });
        assert!(!acks.any_settled());
        assert_eq!(acks.ids().collect::<Vec<_>>(), ["1", "3"]);
    }

    #[test]
    fn an_unsettled_delivery_is_never_covered() {
        let mut acks = holding(1..=3);
        let now = Instant::now();
        acks.settle(3, now);
        acks.forget(1);
        assert_eq!(acks.flush(now), Flush::default());
        acks.settle(2, now);
        assert_eq!(acks.flush(now), Flush { up_to: Some(3), alone: vec![] });
    }

    #[test]
    fn settling_twice_counts_once() {
        let mut acks = holding(1..=1);
        let now = Instant::now();
        assert_eq!((acks.settle(1, now), acks.settle(1, now), acks.settle(9, now)), (1, 1, 1));
        acks.flush(now);
        assert!(!acks.any_settled());
    }
}
