//! Moving what the fallbacks hold to the first queue, now that it is back.

use crate::config::QueueConfig;
use crate::publish::{Publish, Publisher};
use crate::{BoxError, ConfigError};
#[cfg(any(feature = "sqs", feature = "sqlite"))]
use crate::{chain, queue_url::QueueUrl};

/// What a drain did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many events it moved, from all fallbacks together.
    pub moved: u64,
    /// What it did with each fallback, a line each.
    pub lines: Vec<String>,
}

/// A drain that could not go on. What had been moved stays moved, and all else stays where it is.
#[derive(Debug, thiserror::Error)]
#[error("{from} could not be drained; {moved} events were moved, the others are still there")]
pub struct DrainError {
    /// The fallback, as a log may show it.
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
    pub(crate) end: Result<(), BoxError>,
}

/// For events with which something is wrong, other than the queue that they are to be moved to.
#[cfg(any(feature = "sqs", feature = "sqlite"))]
pub(crate) fn cannot_be_moved(events: usize, first: &(dyn std::error::Error + 'static)) -> BoxError {
    format!("{events} events cannot be moved; the first of them: {}", chain(first)).into()
}

/// Moves what the fallbacks hold, in their order, to the first queue, and returns when they are empty.
///
/// * An event leaves its fallback only when the first queue has confirmed it, with its id, its rung and the time when
///   it was received. Whatever ends a drain, nothing is lost: an event may be on both queues, with the same id.
/// * A few events are in flight at a time, so that a drain leaves room for what arrives meanwhile.
/// * Events that somebody else holds are waited for; those that a drain held when it was killed come back within the
///   time for which it held them.
/// * A fallback that consumers read themselves (RabbitMQ) is left alone.
///
/// # Errors
/// When a queue cannot be reached, or a fallback holds something that cannot be moved.
pub async fn drain(config: &QueueConfig) -> Result<Drained, DrainError> {
    let mut rungs = config.rungs();
    let mut drained = Drained::default();
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
        let moved = drained.moved;
        progress.end.map_err(|source| DrainError { from: from.clone(), moved, source })?;
        drained.lines.push(format!("{from}: empty, {} events moved to {}", progress.moved, first.url.redacted()));
    }
    publisher.close().await;
    Ok(drained)
}

#[cfg_attr(not(any(feature = "sqs", feature = "sqlite")), allow(unused_variables, reason = "none can be drained"))]
async fn drain_one(rung: &QueueConfig, publisher: &Publisher) -> Option<Progress> {
    match &rung.url {
        #[cfg(feature = "sqs")]
        QueueUrl::Sqs(url) => Some(crate::sqs::drain(rung, url, publisher).await),
        #[cfg(feature = "sqlite")]
        QueueUrl::Sqlite(path) => {
            Some(crate::sqlite::drain(rung, path, publisher, &tokio_util::sync::CancellationToken::new()).await)
        }
        _ => None,
    }
}
