//! Moving what a process's own SQLite fallbacks hold to the first queue, by itself.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::config::QueueConfig;
use crate::drain::{Progress, cannot_be_moved};
use crate::publish::{Publish, Publisher, Readiness};
use crate::queue_url::QueueUrl;
use crate::sqlite::Pass;

/// How often a file is looked at for events that are to be moved.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a drain that could not go on is left alone, or one that left something behind.
const PAUSE: Duration = Duration::from_secs(5);
/// How long what was left behind is not tried again: so many times as long as it took, so that a queue that refuses
/// everything is not asked all the time, within these bounds.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));
const TRY_AGAIN_TIMES: u32 = 10;
/// How long the first queue is left alone while it is not ready. What it says of itself may be the news of the last
/// event, and nobody else may ask.
const PAUSE_WHEN_NOT_READY: Duration = Duration::from_secs(30);

/// Moves what SQLite fallbacks hold to the first queue, whenever that takes events, until told to stop; then it finishes
/// what is on its way.
///
/// This is for the process that fills the files, which nobody else reads. `publisher` is the one with which it does so: its
/// connection to the first queue serves both. What [`drain`](crate::drain()) promises holds here, too. What
/// goes wrong is logged, and tried again. When the file does not answer, it returns seconds after it was told to stop; what
/// was on its way may then be moved once more.
pub async fn keep_draining(config: &QueueConfig, publisher: &Publisher, stop: &CancellationToken) {
    let to = config.url.redacted();
    let first = publisher.first();
    let files = config.rungs().skip(1).filter_map(|rung| match &rung.url {
        QueueUrl::Sqlite(path) => Some(File::new(rung.url.redacted(), path.clone(), first.max_body_bytes())),
        _ => None,
    });
    let mut files: Vec<File> = files.collect();
    while !files.is_empty() && !stop.is_cancelled() {
        for file in &mut files {
            file.look(&first, &to, stop).await;
        }
        _ = tokio::time::timeout(LOOK_EVERY, stop.cancelled()).await;
    }
}

/// A file that this process fills and drains.
struct File {
    from: String,
    path: PathBuf,
    pass: Pass,
    not_before: Instant,
    /// When what was left behind is tried again.
    start_over: Option<Instant>,
    told: Told,
}

/// What is told once.
#[derive(Default)]
struct Told {
    /// What went wrong the last time.
    trouble: Option<String>,
    /// What was left behind the last time that something was.
    left: String,
    too_large: usize,
}

impl File {
    fn new(from: String, path: PathBuf, limit: usize) -> File {
        let (pass, not_before) = (Pass::new(limit), Instant::now());
        File { from, path, pass, not_before, start_over: None, told: Told::default() }
    }

    /// Moves what is there, if the first queue takes it.
    async fn look(&mut self, first: &Publisher, to: &str, stop: &CancellationToken) {
        let now = Instant::now();
        if now < self.not_before
            || (first.readiness() != Readiness::Ready && now < self.not_before + PAUSE_WHEN_NOT_READY)
        {
            return;
        }
        if self.start_over.take_if(|at| *at <= now).is_some() {
            self.pass.start_over();
        }
        // Counting walks the whole file, so it comes after the cheaper questions.
        if let Ok(rest) = crate::sqlite::rest(&self.path, &self.pass).await {
            self.told.too_large(&self.from, rest.too_large, to);
            if rest.is_nothing() {
                return;
            }
        }
        let Progress { moved, left, end } = crate::sqlite::drain(&self.path, first, &self.pass, stop).await;
        let from = &self.from;
        if moved > 0 {
            tracing::info!(queue = from, events = moved, "moved {moved} events from {from} to {to}");
        }
        if left.is_some() || end.is_err() {
            self.not_before = Instant::now() + PAUSE;
        }
        if let (Some(left), None) = (&left, self.start_over) {
            let (least, most) = TRY_AGAIN;
            self.start_over = Some(Instant::now() + (now.elapsed() * TRY_AGAIN_TIMES).clamp(least, most));
            self.told.left(from, &cannot_be_moved(left));
        }
        self.told.trouble(from, end.err().map(|error| chain(&*error)));
    }
}

impl Told {
    fn trouble(&mut self, from: &str, trouble: Option<String>) {
        if let Some(reason) = &trouble
            && trouble != self.trouble
        {
            tracing::warn!(queue = from, reason, "{from} cannot be drained at the moment: {reason}");
        }
        self.trouble = trouble;
    }

    fn left(&mut self, from: &str, left: &str) {
        if self.left != left {
            tracing::warn!(queue = from, reason = left, "{from} is drained as far as possible: {left}");
            left.clone_into(&mut self.left);
        }
    }

    fn too_large(&mut self, from: &str, events: usize, to: &str) {
        if events > self.too_large {
            tracing::warn!(
                queue = from,
                events,
                "{from} holds {events} events that are too large for {to}: they stay there for a consumer that reads {from}"
            );
        }
        self.too_large = events;
    }
}
