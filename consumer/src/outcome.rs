//! What a handler says about an event.

use std::time::Duration;

use webhook_queue::BoxError;

/// What becomes of an event after its handler has run.
///
/// Most handlers never name it: `Ok(())` is [`Done`](Outcome::Done) and an `Err`, through `?` or not, is
/// [`Failed`](Outcome::Failed). To say something else, return `Outcome` or `Result<Outcome, E>`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Handled. The event never comes again.
    Done,
    /// A failed attempt. The event comes again after `after`, or as the retry ladder says, until `RETRY_MAX_AGE` is over;
    /// then it is dead-lettered.
    Failed {
        /// What went wrong: logged, and kept with the dead letter if this was the last attempt.
        error: BoxError,
        /// How long to wait at least, instead of the retry ladder's delay.
        after: Option<Duration>,
    },
    /// Not now: the event comes again after this delay, and nothing has failed.
    Snoozed {
        /// How long to wait at least.
        after: Duration,
    },
    /// No attempt will ever succeed: dead-lettered at once, with the reason `handler`.
    DeadLetter {
        /// Why: logged, and kept with the dead letter.
        error: BoxError,
    },
    /// The event cannot be read: dead-lettered at once, with the reason `undecodable`.
    Undecodable {
        /// Why. The log gets its `Display` alone; the dead letter gets its sources too, and those may quote the event.
        error: BoxError,
    },
}

impl Outcome {
    /// A failed attempt: the event comes again as the retry ladder says.
    pub fn failed(error: impl Into<BoxError>) -> Outcome {
        Outcome::Failed { error: error.into(), after: None }
    }

    /// A failed attempt after which the event comes again not before `after`, say because a service answered with
    /// `Retry-After`. Less than a second counts as a second, more than a day as a day.
    pub fn retry_after(after: Duration) -> Outcome {
        Outcome::Failed { error: "the handler asked for a retry".into(), after: Some(after) }
    }

    /// Not now: the event comes again after `after`, say because what it depends on is not there yet. Less than a second
    /// counts as a second, more than a day as a day.
    ///
    /// A snooze is never dead-lettered, however old the event, so only the app ends one that it snoozes for ever. It is
    /// a delivery, though: [`Attempt`](crate::Attempt) counts it, and a failure after it takes the retry ladder's delay
    /// for that number and finds `RETRY_MAX_AGE` the nearer.
    pub fn snooze(after: Duration) -> Outcome {
        Outcome::Snoozed { after }
    }

    /// Gives up on the event: dead-lettered at once, with the reason `handler`.
    pub fn dead_letter(why: impl Into<BoxError>) -> Outcome {
        Outcome::DeadLetter { error: why.into() }
    }

    /// The event cannot be read: dead-lettered at once, with the reason `undecodable`.
    pub fn undecodable(error: impl Into<BoxError>) -> Outcome {
        Outcome::Undecodable { error: error.into() }
    }
}

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not an outcome",
    note = "return `()`, `Outcome`, `Result<(), E>` or `Result<Outcome, E>`, where `E` is an error that is `Send + Sync`"
)]
pub trait IntoOutcome {
    /// What becomes of the event.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Done
    }
}

impl<T: IntoOutcome, E: Into<BoxError>> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => Outcome::failed(error),
        }
    }
}
