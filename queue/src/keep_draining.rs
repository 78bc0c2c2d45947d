//! Moving what a process's own SQLite fallbacks hold to the first queue, by itself.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::config::QueueConfig;
use crate::drain::Progress;
use crate::publish::{Publish, Publisher, Readiness};
use crate::queue_url::QueueUrl;

/// How often a file is looked at for events that are to be moved.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a drain that could not go on is left alone.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the first queue is left alone while it is not ready. What it says of itself may be the news of the last
/// event, and nobody else may ask.
const PAUSE_WHEN_NOT_READY: Duration = Duration::from_secs(30);

/// Moves what SQLite fallbacks hold to the first queue, whenever that takes events, until told to stop; then it finishes
/// what is on its way.
///
/// This is for the process that fills the files, which nobody else reads. `publisher` is the one with which it does so: its
/// connection to the first queue serves both. What [`drain`](crate::drain()) promises holds here, too. What
/// goes wrong is logged, and tried again.
pub async fn keep_draining(config: &QueueConfig, publisher: &Publisher, stop: &CancellationToken) {
    let to = config.url.redacted();
    let first = publisher.first();
    let files = config.rungs().skip(1).filter(|rung| matches!(rung.url, QueueUrl::Sqlite(_)));
    let mut files: Vec<File> = files.map(File::new).collect();
    while !files.is_empty() && !stop.is_cancelled() {
        for file in &mut files {
            file.look(&first, &to, stop).await;
        }
        _ = tokio::time::timeout(LOOK_EVERY, stop.cancelled()).await;
    }
}

/// A file that this process fills and drains.
struct File {
    rung: QueueConfig,
    from: String,
    not_before: Instant,
    /// What went wrong the last time: told once.
    trouble: Option<String>,
}

impl File {
    fn new(rung: QueueConfig) -> File {
        File { from: rung.url.redacted(), rung, not_before: Instant::now(), trouble: None }
    }

    /// Moves what is there, if the first queue takes it.
    async fn look(&mut self, first: &Publisher, to: &str, stop: &CancellationToken) {
        let QueueUrl::Sqlite(path) = &self.rung.url else { return };
        if Instant::now() < self.not_before || crate::sqlite::is_empty(path).await {
            return;
        }
        if first.readiness() != Readiness::Ready && self.not_before.elapsed() < PAUSE_WHEN_NOT_READY {
            return;
        }
        let Progress { moved, end } = crate::sqlite::drain(&self.rung, path, first, stop).await;
        let from = &self.from;
        if moved > 0 {
            tracing::info!(queue = from, events = moved, "moved {moved} events from {from} to {to}");
        }
        let trouble = end.err().map(|error| chain(&*error));
        if let Some(reason) = &trouble
            && trouble != self.trouble
        {
            tracing::warn!(queue = from, reason, "{from} cannot be drained at the moment: {reason}");
        }
        if trouble.is_some() {
            self.not_before = Instant::now() + PAUSE;
        }
        self.trouble = trouble;
    }
}
