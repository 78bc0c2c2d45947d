//! The publishing half.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::store::{self, Store};
use super::wire::EventRow;
use super::writer::{Job, Message, Writer};
use crate::ladder::OneOfSeveral;
use crate::{BoxError, ConfigError, Event, Publish, PublishError, QueueConfig, Readiness};

/// Far below what SQLite can store in one row, and far above any webhook.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// How many events may wait for the writer; whoever comes next waits for a place.
const QUEUED: u32 = 4096;
/// How long closing waits for a file that does not answer.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Publishes to one file. The work is done by a [`Writer`] on its own thread.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    writer: Sender<Message>,
    places: Arc<Semaphore>,
    closed: AtomicBool,
    health: Arc<Health>,
}

/// The last word of the file.
#[derive(Debug, Default)]
pub(super) struct Health {
    problem: Mutex<Option<String>>,
}

impl Health {
    /// Says whether that is news.
    pub(super) fn set(&self, problem: Option<String>) -> bool {
        let mut current = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *current != problem;
        *current = problem;
        news
    }

    pub(super) fn is_good(&self) -> bool {
        self.readiness() == Readiness::Ready
    }

    fn readiness(&self) -> Readiness {
        match &*self.problem.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Readiness::Ready,
            Some(problem) => Readiness::NotReady(problem.clone()),
        }
    }
}

impl Publisher {
    pub(crate) fn open(_: &QueueConfig, path: &Path) -> Result<Publisher, ConfigError> {
        let path = store::checked_path(path)?;
        let store = open_store(&path)?;
        let (sender, messages) = channel();
        let health = Arc::new(Health::default());
        let writer = Writer::new(path, store, messages, Arc::clone(&health));
        std::thread::Builder::new()
            .name("webhook-queue-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(store::no_thread)?;
        let places = Arc::new(Semaphore::new(QUEUED as usize));
        let shared = Shared { writer: sender, places, closed: AtomicBool::new(false), health };
        Ok(Publisher { shared: Arc::new(shared) })
    }

    async fn hand_over(&self, row: EventRow, deadline: Instant) -> Result<(), PublishError> {
        let place = Arc::clone(&self.shared.places).acquire_owned().await.map_err(|_| ended())?;
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(ended());
        }
        let (answer, answered) = oneshot::channel();
        let job = Job { row, deadline: deadline.into_std(), answer, _place: place };
        self.shared.writer.send(Message::Publish(Box::new(job))).map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// A file that is only busy is no reason not to start.
fn open_store(path: &Path) -> Result<Option<Store>, ConfigError> {
    match Store::create(path, None) {
        Ok(store) => Ok(Some(store)),
        Err(error) if error.is_busy() => Ok(None),
        Err(error) => Err(store::unusable(path, &error)),
    }
}

fn ended() -> PublishError {
    PublishError::Unreachable(BoxError::from("the publisher is closed or its writer failed"))
}

impl OneOfSeveral for Publisher {}

impl Publish for Publisher {
    async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        if event.body.len() > MAX_BODY_BYTES {
            return Err(PublishError::TooLarge { limit: MAX_BODY_BYTES });
        }
        timeout_at(deadline, self.hand_over(EventRow::new(event), deadline))
            .await
            .unwrap_or(Err(PublishError::TimedOut))
    }

    fn readiness(&self) -> Readiness {
        self.shared.health.readiness()
    }

    fn max_body_bytes(&self) -> usize {
        MAX_BODY_BYTES
    }

    async fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        // Whoever holds a place is in flight.
        let all = timeout(CLOSE_WAIT, self.shared.places.acquire_many(QUEUED)).await;
        if all.is_err() {
            tracing::warn!("the queue's file did not answer; publishes in flight are given up");
        }
        let (closed, done) = oneshot::channel();
        if self.shared.writer.send(Message::Close(closed)).is_ok() && timeout(CLOSE_WAIT, done).await.is_err() {
            tracing::warn!("the queue's file did not close in time");
        }
    }
}
