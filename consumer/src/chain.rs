//! A handler's error as text: all of it for the dead letter, and for the log what does not quote the event.

use std::any::Any;
use std::error::Error;

/// How many bytes of a text are kept. Queues keep no more of it either.
const MOST: usize = 4096;
/// How many sources of an error are looked at: as many as [`webhook_queue::chain`] tells.
const DEPTH: usize = 32;

/// The whole chain, for the dead letter: it lies beside the event, so it may quote it.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    cut(webhook_queue::chain(error))
}

/// The chain for a log: what is known to quote the data that it was made from is replaced, wherever it is repeated.
pub(crate) fn for_log(error: &(dyn Error + 'static)) -> String {
    cut(unquoted(webhook_queue::chain(error), error))
}

/// As [`for_log`], without the sources.
pub(crate) fn first_for_log(error: &(dyn Error + 'static)) -> String {
    cut(unquoted(error.to_string(), error))
}

fn unquoted(text: String, error: &(dyn Error + 'static)) -> String {
    let quoting = sources(error).filter_map(|error| Some((error.to_string(), without_quotes(error)?)));
    quoting.filter(|(quoting, _)| !quoting.is_empty()).fold(text, |text, (quoting, safe)| text.replace(&quoting, &safe))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MOST));
    text
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source()).take(DEPTH)
}

/// What may be logged of an error whose own text quotes data.
fn without_quotes(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(json) = error.downcast_ref::<serde_json::Error>() {
        Some(format!("unexpected JSON at line {} column {}", json.line(), json.column()))
    } else if error.is::<serde_urlencoded::de::Error>() {
        Some("unexpected form data".to_owned())
    } else if error.is::<PanicMessage>() {
        Some("message left out".to_owned())
    } else {
        None
    }
}

/// A handler panicked. The message is a source of its own, since it may quote the event (`unwrap` prints what it found).
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked")]
pub(crate) struct Panicked {
    source: PanicMessage,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct PanicMessage(String);

impl Panicked {
    pub(crate) fn new(panic: Box<dyn Any + Send>) -> Panicked {
        let message = match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(panic) => {
                panic.downcast_ref::<&str>().map_or_else(|| "no message".to_owned(), |text| (*text).to_owned())
            }
        };
        Panicked { source: PanicMessage(message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the invoice was not booked")]
    struct NotBooked(#[source] Box<dyn Error + Send + Sync>);

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped: {0}")]
    struct Repeats(#[source] std::fmt::Error);

    #[test]
    fn the_chain_is_one_line_and_says_nothing_twice() {
        let error = NotBooked(Box::new(Repeats(std::fmt::Error)));
        let text = "the invoice was not booked: wrapped: an error occurred when formatting an argument";
        assert_eq!(in_full(&error), text);
        assert_eq!(for_log(&error), text);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no product: {0}")]
    struct NoProduct(#[source] serde_json::Error);

    #[test]
    fn what_quotes_the_event_stays_out_of_the_log() {
        let json = serde_json::from_str::<u64>("\"s3cret\"").unwrap_err();
        let form = serde_urlencoded::from_str::<Vec<(String, u64)>>("a=s3cret").unwrap_err();
        let repeated = NoProduct(serde_json::from_str::<u64>("\"s3cret\"").unwrap_err());
        let panic = Panicked::new(Box::new("called unwrap on s3cret".to_owned()));
        for (error, logged) in [
            (NotBooked(json.into()), "the invoice was not booked: unexpected JSON at line 1 column 8"),
            (NotBooked(form.into()), "the invoice was not booked: unexpected form data"),
            (NotBooked(repeated.into()), "the invoice was not booked: no product: unexpected JSON at line 1 column 8"),
            (NotBooked(panic.into()), "the invoice was not booked: the handler panicked: message left out"),
        ] {
            assert_eq!(for_log(&error), logged);
        }
    }

    #[test]
    fn the_first_error_alone_is_unquoted_too() {
        let json = || serde_json::from_str::<u64>("\"s3cret\"").unwrap_err();
        assert_eq!(first_for_log(&NotBooked(json().into())), "the invoice was not booked");
        assert_eq!(first_for_log(&json()), "unexpected JSON at line 1 column 8");
        assert_eq!(first_for_log(&NoProduct(json())), "no product: unexpected JSON at line 1 column 8");
    }

    #[test]
    fn an_endless_text_is_cut() {
        let error = NotBooked("æ".repeat(10_000).into());
        assert_eq!((in_full(&error).len(), for_log(&error).len(), first_for_log(&error).len()), (4096, 4096, 26));
    }

    #[test]
    fn the_dead_letter_has_it_all() {
        let json = serde_json::from_str::<u64>("\"33\"").unwrap_err();
        assert_eq!(
            in_full(&NotBooked(json.into())),
            "the invoice was not booked: invalid type: string \"33\", expected u64 at line 1 column 4"
        );
        assert_eq!(in_full(&Panicked::new(Box::new("oh no"))), "the handler panicked: oh no");
        assert_eq!(in_full(&Panicked::new(Box::new(7))), "the handler panicked: no message");
    }
}
