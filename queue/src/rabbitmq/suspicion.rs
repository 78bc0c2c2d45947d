//! Which redelivered events were in the hands of a process that died.

use std::collections::HashSet;

/// How many redelivered messages in a row may be what dead consumers held: the prefetch that consumers have unless
/// they are told otherwise, or our own if that is more.
const HELD_BY_THE_DEAD: u16 = 200;
/// How many own event ids are remembered over the end of a generation, per event that may be held.
const TRUSTED_PER_PREFETCH: usize = 2;

/// Tells a crash from what only looks like one.
#[derive(Debug)]
pub(super) struct Suspicion {
    /// Ids of events that this very process had in hand when its connection broke. The broker calls them redelivered,
    /// but nobody has crashed.
    trusted: HashSet<String>,
    most_trusted: usize,
    in_a_row: u16,
    most_in_a_row: u16,
}

impl Suspicion {
    pub(super) fn new(prefetch: u16) -> Suspicion {
        Suspicion {
            trusted: HashSet::new(),
            most_trusted: usize::from(prefetch) * TRUSTED_PER_PREFETCH,
            in_a_row: 0,
            most_in_a_row: prefetch.max(HELD_BY_THE_DEAD),
        }
    }

    /// Notes what this process has in hand while its connection breaks.
    pub(super) fn trust(&mut self, ids: Vec<String>) {
        if self.trusted.len() + ids.len() > self.most_trusted {
            self.trusted.clear();
        }
        self.trusted.extend(ids.into_iter().rev().filter(|id| !id.is_empty()).take(self.most_trusted));
    }

    /// Whether somebody else had this event in hand and is gone.
    ///
    /// A classic queue that was recovered after a crash of the broker calls everything in it redelivered. A consumer
    /// that crashed leaves no more than its prefetch: what goes on for longer than that tells nothing. Should a
    /// killer be among the rest, it is among the first when it comes again.
    pub(super) fn falls_on(&mut self, id: &str, redelivered: bool) -> bool {
        if !redelivered {
            self.in_a_row = 0;
            return false;
        }
        if self.trusted.remove(id) || self.in_a_row >= self.most_in_a_row {
            return false;
        }
        self.in_a_row += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_redelivered_is_suspect_unless_this_process_held_it() {
        let mut suspicion = Suspicion::new(2);
        suspicion.trust(vec!["mine".into(), String::new()]);
        assert!(!suspicion.falls_on("fresh", false));
        assert!(!suspicion.falls_on("mine", true));
        assert!(suspicion.falls_on("mine", true), "once, and not for ever");
        assert!(suspicion.falls_on("", true));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut suspicion = Suspicion::new(1);
        suspicion.trust(vec!["1".into(), "2".into(), "3".into()]);
        assert!(suspicion.falls_on("1", true));
        assert!(!suspicion.falls_on("3", true));
    }

    #[test]
    fn a_connection_may_break_again_and_again() {
        let mut suspicion = Suspicion::new(2);
        for _ in 0..10 {
            suspicion.trust(vec!["1".into(), "2".into()]);
            assert!(!suspicion.falls_on("1", true) && !suspicion.falls_on("2", true));
        }
    }

    #[test]
    fn a_recovered_queue_is_not_full_of_suspects() {
        let mut suspicion = Suspicion::new(2);
        let suspects = (0..1000).filter(|id| suspicion.falls_on(&id.to_string(), true)).count();
        assert_eq!(suspects, usize::from(HELD_BY_THE_DEAD));
        assert!(!suspicion.falls_on("fresh", false));
        assert!(suspicion.falls_on("another", true));
    }
}
