//! The thread behind a publisher: writes whatever is queued in one transaction, tells everybody, and begins again.
//! While one commit is under way the next ones gather, so that a load that one commit per event could not carry is
//! carried by fewer and larger commits, and a single event never waits for company.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::file::Identity;
use super::publish::Health;
use super::store::{Store, StoreError};
use super::wire::EventRow;
use super::{now_ms, wake};
use crate::{BoxError, PublishError, chain};

/// The most events in one commit.
const BATCH_EVENTS: usize = 512;
/// A batch is closed by the event that takes it over this size.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How often an idle writer looks whether its file is still there, so that readiness is no older than that.
const PROBE_EVERY: Duration = Duration::from_secs(2);

const BUSY: &str = "another process keeps the file busy";
const PANICKED: &str = "the thread that writes the file panicked";

/// What the async side asks for.
#[derive(Debug)]
pub(super) enum Message {
    Publish(Box<Job>),
    Close(oneshot::Sender<()>),
}

/// One publish.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) row: EventRow,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<(), PublishError>>,
    /// Its place in the queue, free again when it is answered.
    pub(super) _place: OwnedSemaphorePermit,
}

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    store: Option<Store>,
    previous: Option<Identity>,
    messages: Receiver<Message>,
    /// What was received and did not go into the batch before.
    next: Option<Message>,
    health: Arc<Health>,
}

/// Why a batch was not written.
enum Failure {
    /// Others were writing all the time; nothing was begun.
    Busy,
    /// Nothing of it is in the file.
    Undone(StoreError),
    /// It may be in the file, or in one that nobody reads.
    Unknown(StoreError),
}

impl Writer {
    pub(super) fn new(path: PathBuf, store: Option<Store>, messages: Receiver<Message>, health: Arc<Health>) -> Writer {
        let previous = store.as_ref().map(Store::identity);
        Writer { path, store, previous, messages, next: None, health }
    }

    /// Writes until it is closed, or until the last publisher is dropped.
    pub(super) fn run(mut self) {
        loop {
            let message = match self.next.take() {
                Some(message) => Ok(message),
                None => self.messages.recv_timeout(PROBE_EVERY),
            };
            match message {
                Ok(Message::Publish(job)) => self.handle(*job),
                Ok(Message::Close(closed)) => {
                    drop(self.store.take());
                    // Nobody may be waiting for it any more.
                    let _ = closed.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => self.probe(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes a batch. After a panic its publishers learn that nobody knows, and the file is opened again.
    fn handle(&mut self, first: Job) {
        if catch_unwind(AssertUnwindSafe(|| self.write(first))).is_err() {
            self.store = None;
            self.fail(PANICKED.to_owned());
        }
    }

    fn write(&mut self, first: Job) {
        let mut batch = self.gather(first);
        loop {
            batch.retain(|job| job.deadline > Instant::now() && !job.answer.is_closed());
            if batch.is_empty() {
                return;
            }
            match self.commit(&batch) {
                Ok(left_out) => return self.confirm(batch, left_out),
                Err(Failure::Busy) => self.fail(BUSY.to_owned()),
                Err(Failure::Undone(error)) => {
                    let reason = chain(&error);
                    self.fail(reason.clone());
                    return answer(batch, || PublishError::Refused(reason.clone()));
                }
                Err(Failure::Unknown(error)) => {
                    let reason = chain(&error);
                    self.store = None;
                    self.fail(reason.clone());
                    return answer(batch, || PublishError::Unreachable(BoxError::from(reason.clone())));
                }
            }
        }
    }

    /// Everything that is queued, up to the size of a batch.
    fn gather(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = first.row.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_EVENTS && bytes < BATCH_BYTES {
            match self.messages.try_recv() {
                Ok(Message::Publish(job)) => {
                    bytes = bytes.saturating_add(job.row.bytes());
                    batch.push(*job);
                }
                Ok(close) => {
                    self.next = Some(close);
                    break;
                }
                Err(_) => break,
            }
        }
        batch
    }

    /// Writes the batch and makes sure that it is on the disk, in the file that the path names. Returns those that
    /// were left out, and why.
    fn commit(&mut self, batch: &[Job]) -> Result<Vec<(usize, PublishError)>, Failure> {
        let store = self.open()?;
        let transaction = store.begin().map_err(Failure::from)?;
        // Getting this far may have taken a while.
        let begun = Instant::now();
        let mut left_out = Vec::new();
        for (index, job) in batch.iter().enumerate() {
            if job.deadline <= begun {
                left_out.push((index, PublishError::TimedOut));
                continue;
            }
            match insert(&transaction, &job.row) {
                Ok(()) => {}
                Err(error) if concerns_one_row(&error) => {
                    left_out.push((index, PublishError::Refused(error.to_string())));
                }
                Err(error) => return Err(StoreError::from(error).into()),
            }
        }
        transaction.commit().map_err(StoreError::from)?;
        store.verify().map_err(Failure::Unknown)?;
        Ok(left_out)
    }

    /// The open file, or a new one if the path names none or another. What was not begun can go there.
    fn open(&mut self) -> Result<&mut Store, Failure> {
        if self.store.as_ref().is_some_and(|store| store.verify().is_err()) {
            tracing::warn!(path = %self.path.display(), "the queue's file was deleted or replaced; opening it again");
            self.store = None;
        }
        match self.store.take() {
            Some(store) => Ok(self.store.insert(store)),
            None => {
                let store = Store::create(&self.path, self.previous).map_err(|error| match error.is_busy() {
                    true => Failure::Busy,
                    false => Failure::Unknown(error),
                })?;
                self.previous = Some(store.identity());
                Ok(self.store.insert(store))
            }
        }
    }

    fn confirm(&mut self, batch: Vec<Job>, left_out: Vec<(usize, PublishError)>) {
        self.recovered();
        let mut left_out = left_out.into_iter().peekable();
        for (index, job) in batch.into_iter().enumerate() {
            let outcome = left_out.next_if(|(at, _)| *at == index).map_or(Ok(()), |(_, error)| Err(error));
            // The publishing future may have been dropped.
            let _ = job.answer.send(outcome);
        }
        wake::wake(&self.path);
        if let Some(store) = &mut self.store {
            store.bound_log();
        }
    }

    /// Looks after the file while nothing is published, so that readiness comes and goes without a publish.
    fn probe(&mut self) {
        let healthy = self.health.is_good();
        let proof = catch_unwind(AssertUnwindSafe(|| {
            let store = self.open()?;
            if healthy { Ok(()) } else { store.prove().map_err(Failure::from) }
        }));
        match proof {
            Ok(Ok(())) => self.recovered(),
            Ok(Err(Failure::Busy)) => self.fail(BUSY.to_owned()),
            Ok(Err(Failure::Undone(error) | Failure::Unknown(error))) => self.fail(chain(&error)),
            Err(_) => self.fail(PANICKED.to_owned()),
        }
    }

    /// Told once, however many publishes fail for the same reason.
    fn fail(&self, reason: String) {
        if self.health.set(Some(reason.clone())) {
            tracing::warn!(path = %self.path.display(), reason, "the queue's file did not take what was published");
        }
    }

    fn recovered(&self) {
        if self.health.set(None) {
            tracing::info!(path = %self.path.display(), "the queue's file takes what is published again");
        }
    }
}

impl From<StoreError> for Failure {
    /// Only a failing disk leaves it open what is in the file.
    fn from(error: StoreError) -> Failure {
        match error.code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failure::Busy,
            Some(
                ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::AuthorizationForStatementDenied,
            ) => Failure::Undone(error),
            _ => Failure::Unknown(error),
        }
    }
}

fn insert(connection: &Connection, row: &EventRow) -> Result<(), rusqlite::Error> {
    let seq = row.insert(connection)?;
    let bytes = i64::try_from(row.body_bytes()).unwrap_or(i64::MAX);
    connection.prepare_cached("INSERT INTO deliveries (seq, due, bytes) VALUES (?1, ?2, ?3)")?.execute([
        seq,
        now_ms(),
        bytes,
    ])?;
    Ok(())
}

/// Whether only this event is at fault, so that the others of its batch can be committed. Such an error comes from
/// the first of the two inserts, which then has done nothing.
fn concerns_one_row(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch)
    )
}

fn answer(batch: Vec<Job>, error: impl Fn() -> PublishError) {
    for job in batch {
        // The publishing future may have been dropped.
        let _ = job.answer.send(Err(error()));
    }
}
