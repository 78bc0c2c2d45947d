//! An error and what it came from, as one line of text.

use std::error::Error;

/// How many sources of an error are looked at.
const DEPTH: usize = 32;

/// An error and everything that caused it, in one line: for a log, or for whoever started the program.
///
/// Many errors repeat their source's text at the end of their own; here it stands once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source()).take(DEPTH);
    causes.map(ToString::to_string).fold(String::new(), |mut chain, text| {
        if !chain.ends_with(&text) {
            if !chain.is_empty() {
                chain.push_str(": ");
            }
            chain.push_str(&text);
        }
        chain
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PublishError;

    #[derive(Debug, thiserror::Error)]
    #[error("not told: {0}")]
    struct Repeats(#[source] PublishError);

    #[test]
    fn every_cause_is_told_once() {
        let unreachable = || PublishError::Unreachable("connection refused".into());
        assert_eq!(chain(&unreachable()), "the queue cannot be reached: connection refused");
        assert_eq!(chain(&Repeats(unreachable())), "not told: the queue cannot be reached: connection refused");
        assert_eq!(chain(&PublishError::TimedOut), "the queue did not answer in time");
    }
}
