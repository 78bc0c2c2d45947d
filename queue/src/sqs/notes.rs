//! Notes on suspects: how often a process died while it ran this event alone. They lie on a queue of their own, because SQS
//! lets nobody write on a message, and counts for a suspect's neighbours what it counts for the suspect.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::message::Outgoing;
use super::take::{BATCH, Taken, Taker};
use crate::moment::Moment;
use crate::publish::PublishError;

/// How long the queue is asked: one that is asked for a moment only may not look everywhere.
const WAIT: Duration = Duration::from_secs(1);
/// How long a note is hidden from others while somebody reads.
const LEASE: Duration = Duration::from_secs(10);
/// So many batches are read at most.
const MOST_BATCHES: usize = 100;

/// The queue of notes, and what was read there.
#[derive(Debug)]
pub(super) struct Notes {
    taker: Taker,
    /// Whose turn it is to read and to write: two who read would hide notes from each other.
    turn: tokio::sync::Mutex<()>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// What was read last, and when that began.
    read: Option<(Moment, Vec<Note>)>,
    /// Messages that nobody has died of this time, and the highest count that notes on them may still have.
    outdated: HashMap<String, u32>,
}

/// A note on one message, written before it is run.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    /// SQS's id of the message.
    message: String,
    /// How many processes will have died of it, should this one.
    crashes: u32,
}

impl Seen {
    fn crashes(&self, message: &str) -> u32 {
        let notes = self.read.iter().flat_map(|(_, notes)| notes).filter(|note| note.message == message);
        notes.map(|note| note.crashes).max().unwrap_or(0)
    }
}

impl Notes {
    pub(super) fn new(taker: Taker) -> Notes {
        Notes { taker, turn: tokio::sync::Mutex::default(), seen: Mutex::default() }
    }

    pub(super) fn client(&self) -> &Client {
        &self.taker.client
    }

    /// Waits until nobody else in this process reads or writes.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// How many processes have died of this message so far. While we hold it nobody else writes notes on it: what was
    /// read since we received it is all there is.
    pub(super) async fn crashes(&self, message: &str, received: Moment) -> Result<u32, PublishError> {
        let is_read = |(when, _): &(Moment, Vec<Note>)| when.elapsed() < received.elapsed();
        if !self.seen().read.as_ref().is_some_and(is_read) {
            self.read().await?;
        }
        Ok(self.seen().crashes(message))
    }

    /// Notes how many processes will have died of this message, should this one.
    pub(super) async fn write(&self, message: &str, crashes: u32) -> Result<(), PublishError> {
        let note = Note { message: message.to_owned(), crashes };
        let note = serde_json::to_string(&note).map_err(|error| PublishError::Refused(error.to_string()))?;
        Outgoing::note(note).put(&self.taker.client).await
    }

    /// Nobody has died of this message this time: what notes on it say beyond `crashes` is outdated, and whoever reads
    /// next takes it away. Before anything else is run, if it comes again: it must not be blamed for another one.
    pub(super) fn survived(&self, message: &str, crashes: u32, comes_again: bool) {
        let mut seen = self.seen();
        seen.outdated.insert(message.to_owned(), crashes);
        if comes_again {
            seen.read = None;
        }
    }

    /// Takes away what is outdated. A note that is not found now does no harm before the message has been suspect, and
    /// alone, twice more.
    pub(super) async fn sweep(&self) {
        let _turn = self.turn().await;
        let nothing_is_outdated = self.seen().outdated.is_empty();
        if nothing_is_outdated {
            return;
        }
        if let Err(error) = self.read().await {
            tracing::debug!(%error, "the notes on suspects cannot be read");
        }
    }

    /// Reads all notes, and takes away those that are outdated.
    async fn read(&self) -> Result<(), PublishError> {
        let (now, outdated) = (Moment::now(), self.seen().outdated.clone());
        let is_outdated = |note: &Note| outdated.get(&note.message).is_some_and(|crashes| note.crashes > *crashes);
        let (mut notes, mut gone, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let (messages, end) = self.take().await;
        for taken in messages {
            match serde_json::from_str::<Note>(&taken.body) {
                Ok(note) if is_outdated(&note) => gone.push(taken),
                note => {
                    notes.extend(note.ok());
                    others.push(taken);
                }
            }
        }
        for batch in others.chunks(BATCH) {
            self.taker.give_back(batch).await;
        }
        for batch in gone.chunks(BATCH) {
            if let Err(error) = self.taker.delete(batch).await {
                tracing::debug!(%error, "notes on suspects stay until they expire");
            }
        }
        end?;
        let mut seen = self.seen();
        seen.outdated.retain(|message, _| !outdated.contains_key(message));
        seen.read = Some((now, notes));
        Ok(())
    }

    /// Takes all notes, or those before a failure: they are to be given back, whatever becomes of the others.
    async fn take(&self) -> (Vec<Taken>, Result<(), PublishError>) {
        let mut all = Vec::new();
        for _ in 0..MOST_BATCHES {
            match self.taker.take(BATCH, WAIT, LEASE).await {
                Ok(batch) if batch.is_empty() => break,
                Ok(batch) => all.extend(batch),
                Err(error) => return (all, Err(error)),
            }
        }
        (all, Ok(()))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
