//! Which messages that were handed out before were in the hands of a process that died.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::lease::Hold;
use super::message;
use super::take::Taken;

/// How many messages are remembered. When there are more, all are forgotten: they come as suspects then, and so alone.
const MOST_KNOWN: usize = 10_000;

/// What this process knows of messages that it has let go of without deleting them. SQS itself only counts how often a
/// message was handed out, and not why.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, LetGo>>);

/// How a message was let go of.
#[derive(Clone, Copy, Debug)]
pub(super) struct LetGo {
    /// How often it had been handed out by then.
    pub(super) receives: u32,
    /// Which attempt comes next.
    pub(super) attempt: u32,
    pub(super) due: Option<SystemTime>,
    pub(super) suspect: bool,
    /// When the app was first given it, if it was: until then nothing of the time for its retries has run. On a FIFO queue an
    /// event may be received many times while it waits behind another one.
    pub(super) begun: Option<SystemTime>,
}

/// What is to be thought of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) attempt: u32,
    pub(super) suspect: bool,
    /// Until when it has to wait.
    pub(super) due: Option<SystemTime>,
    pub(super) first_received: SystemTime,
    /// Whether an app may have been given it since then.
    pub(super) begun: bool,
}

impl LetGo {
    /// To be the same again, at once.
    pub(super) fn of(hold: &Hold) -> LetGo {
        let (receives, begun) = (hold.taken.receives, hold.begun());
        LetGo { receives, attempt: hold.attempt, due: None, suspect: hold.suspect, begun }
    }
}

impl Known {
    /// Notes it, unless there is a note already: one made on purpose knows more than one about a lease that was lost.
    pub(super) fn note_if_unknown(&self, id: &str, let_go: LetGo) {
        let is_known = self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id);
        if !is_known {
            self.note(id, let_go);
        }
    }

    pub(super) fn note(&self, id: &str, let_go: LetGo) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(id.to_owned(), let_go);
    }

    /// A message that is handed out for the first time, or by ourselves last time, is as it was. With any other one
    /// somebody had it and did not settle it, and on a standard queue that means that its lease lapsed. Our copies
    /// are new messages. A FIFO queue's messages stay the same from attempt to attempt: there each time that another
    /// process had it counts as one.
    pub(super) fn judge(&self, taken: &Taken, fifo: bool) -> Judged {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&taken.id);
        let (attempt, written) = (message::attempt(taken), message::first_received(taken));
        match known.filter(|let_go| let_go.receives.saturating_add(1) == taken.receives) {
            Some(LetGo { attempt, due, suspect, begun, .. }) => Judged {
                attempt,
                suspect,
                due: due.or(message::due(taken)),
                first_received: written.or(begun).unwrap_or_else(SystemTime::now),
                begun: begun.is_some(),
            },
            None => Judged {
                attempt: attempt.saturating_add(if fifo { taken.receives.saturating_sub(1) } else { 0 }),
                suspect: taken.receives > 1,
                due: message::due(taken),
                first_received: written.unwrap_or(taken.first_received),
                begun: taken.receives > 1,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use crate::sqs::wire;

    fn taken(receives: u32) -> Taken {
        Taken {
            id: "1".to_owned(),
            event: wire::decode(""),
            body: String::new(),
            attributes: HashMap::new(),
            handle: String::new(),
            receives,
            first_received: SystemTime::now(),
            sent: SystemTime::now(),
            group: None,
        }
    }

    fn judged(known: &Known, receives: u32, fifo: bool) -> (u32, bool) {
        let Judged { attempt, suspect, .. } = known.judge(&taken(receives), fifo);
        (attempt, suspect)
    }

    #[test]
    fn what_somebody_else_did_not_settle_is_suspect() {
        let known = Known::default();
        assert_eq!(judged(&known, 1, false), (1, false));
        assert_eq!(judged(&known, 3, false), (1, true));
        assert_eq!(judged(&known, 3, true), (3, true));
    }

    #[test]
    fn what_this_process_let_go_of_is_as_it_was_unless_somebody_had_it_since() {
        let known = Known::default();
        let let_go = LetGo { receives: 1, attempt: 5, due: None, suspect: false, begun: None };
        known.note("1", let_go);
        assert_eq!(judged(&known, 2, true), (5, false));
        assert_eq!(judged(&known, 2, true), (2, true), "once, and not for ever");
        known.note("1", let_go);
        assert_eq!(judged(&known, 3, true), (3, true));
        known.note("1", LetGo { suspect: true, ..let_go });
        known.note_if_unknown("1", let_go);
        assert_eq!(judged(&known, 2, true), (5, true), "what was noted on purpose stays");
    }

    #[test]
    fn the_time_for_retries_begins_when_the_app_is_given_the_event() {
        let (known, before) = (Known::default(), SystemTime::now());
        let long_ago = before - Duration::from_secs(24 * 60 * 60);
        let again = Taken { first_received: long_ago, ..taken(2) };
        for (begun, is_long_ago) in [(None, false), (Some(long_ago), true)] {
            known.note("1", LetGo { receives: 1, attempt: 1, due: None, suspect: false, begun });
            assert_eq!(known.judge(&again, true).first_received < before, is_long_ago);
        }
        assert_eq!(known.judge(&again, true).first_received, long_ago, "of others that is not known");
    }
}
