//! Moving what the fallbacks hold to the first queue, now that it is back.

use crate::config::QueueConfig;
#[cfg(any(feature = "sqs", feature = "sqlite"))]
use crate::publish::PublishError;
use crate::publish::{Publish, Publisher};
#[cfg(any(feature = "sqs", feature = "sqlite"))]
use crate::queue_url::QueueUrl;
use crate::{BoxError, ConfigError, chain};

/// What a drain did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many events it moved, from all fallbacks together.
    pub moved: u64,
    /// What it did with each fallback, a line each.
    pub lines: Vec<String>,
}

/// A drain that could not empty every fallback. What had been moved stays moved, and all else stays where it is.
#[derive(Debug, thiserror::Error)]
#[error("{from} could not be drained; {moved} events were moved, the others are still there")]
pub struct DrainError {
    /// The fallback, or fallbacks, as a log may show them.
    pub from: String,
    /// How many events had been moved, from all fallbacks together.
    pub moved: u64,
    #[source]
    source: BoxError,
}

/// How far one fallback was drained, and why no further.
#[cfg_attr(not(any(feature = "sqs", feature = "sqlite")), allow(dead_code, reason = "none can be drained"))]
pub(crate) struct Progress {
    pub(crate) moved: u64,
    /// How many events it left behind, and why the first of them.
    pub(crate) left: Option<(usize, BoxError)>,
    pub(crate) end: Result<(), BoxError>,
}

/// Whether the next event may fare better: what the queue said is about this one, or its routing key.
#[cfg(any(feature = "sqs", feature = "sqlite"))]
pub(crate) fn concerns_the_event(error: &PublishError) -> bool {
    matches!(error, PublishError::TooLarge { .. } | PublishError::Refused(_) | PublishError::Unroutable(_))
}

/// How events that stay are told.
pub(crate) fn cannot_be_moved((events, why): &(usize, BoxError)) -> String {
    format!("{events} events cannot be moved; the first of them: {}", chain(&**why))
}

/// Moves what the fallbacks hold, in their order, to the first queue, and returns when nothing is left there that can be
/// moved.
///
/// * An event leaves its fallback only when the first queue has confirmed it, with its id, its rung and the time when
///   it was received. Whatever ends a drain, nothing is lost: an event may be on both queues, with the same id.
/// * A few events are in flight at a time, and not too many are moved in a second, so that a drain leaves room for what
///   arrives meanwhile.
/// * An event that the first queue refuses, or that is too large for it, stays where it is, and stops no other.
/// * A fallback that cannot be emptied keeps none behind it from being drained.
/// * Events that somebody else holds are waited for; those that a drain held when it was killed come back within the
///   time for which it held them.
/// * A fallback that consumers read themselves (RabbitMQ) is left alone.
///
/// # Errors
/// When a queue cannot be reached, or a fallback holds something that cannot be moved: at the end, for all of them.
pub async fn drain(config: &QueueConfig) -> Result<Drained, DrainError> {
    let mut rungs = config.rungs();
    let (mut drained, mut failures) = (Drained::default(), Vec::new());
    let Some(first) = rungs.next() else { return Ok(drained) };
    let unusable = |error: ConfigError| DrainError { from: first.url.redacted(), moved: 0, source: error.into() };
    let publisher = Publisher::open(&first).map_err(unusable)?;
    for rung in rungs {
        let from = rung.url.redacted();
        let Some(progress) = drain_one(&rung, &publisher).await else {
            drained.lines.push(format!("{from}: consumers read it themselves, nothing is moved"));
            continue;
        };
        drained.moved += progress.moved;
        let left = progress.left.map_or(Ok(()), |left| Err(cannot_be_moved(&left).into()));
        match progress.end.and(left) {
            Ok(()) => {
                let to = first.url.redacted();
                drained.lines.push(format!("{from}: empty, {} events moved to {to}", progress.moved));
            }
            Err(error) => failures.push((from, error)),
        }
    }
    publisher.close().await;
    DrainError::of(failures, drained.moved).map_or(Ok(drained), Err)
}

impl DrainError {
    fn of(mut failures: Vec<(String, BoxError)>, moved: u64) -> Option<DrainError> {
        let (from, source) = match failures.len() {
            0 | 1 => failures.pop()?,
            _ => {
                let told: Vec<_> =
                    failures.iter().map(|(from, error)| format!("{from}: {}", chain(&**error))).collect();
                let names: Vec<_> = failures.into_iter().map(|(from, _)| from).collect();
                (names.join(" and "), told.join("; ").into())
            }
        };
        Some(DrainError { from, moved, source })
    }
}

#[cfg_attr(not(any(feature = "sqs", feature = "sqlite")), allow(unused_variables, reason = "none can be drained"))]
async fn drain_one(rung: &QueueConfig, publisher: &Publisher) -> Option<Progress> {
    match &rung.url {
        #[cfg(feature = "sqs")]
        QueueUrl::Sqs(url) => Some(crate::sqs::drain(rung, url, publisher).await),
        #[cfg(feature = "sqlite")]
        QueueUrl::Sqlite(path) => Some(crate::sqlite::drain_once(path, publisher).await),
        _ => None,
    }
}
