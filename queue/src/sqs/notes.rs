//! Notes on suspects: how often a process died while it ran this event alone. They lie on a queue of their own, because SQS
//! lets nobody write on a message, and counts for a suspect's neighbours what it counts for the suspect.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    read: Mutex<Option<(Moment, Vec<Note>)>>,
}

/// A note on one message, written before it is run.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    /// SQS's id of the message.
    message: String,
    /// How many processes will have died of it, should this one.
    crashes: u32,
}

impl Notes {
    pub(super) fn new(taker: Taker) -> Notes {
        Notes { taker, read: Mutex::default() }
    }

    pub(super) fn client(&self) -> &super::client::Client {
        &self.taker.client
    }

    /// Notes that this message is about to be run alone. Says how many processes have died of that so far.
    pub(super) async fn begin(&self, message: &str, received: Moment) -> Result<u32, PublishError> {
        let crashes = self.crashes(message, received).await?;
        let note = Note { message: message.to_owned(), crashes: crashes.saturating_add(1) };
        let note = serde_json::to_string(&note).map_err(|error| PublishError::Refused(error.to_string()))?;
        Outgoing::note(note).put(&self.taker.client).await?;
        Ok(crashes)
    }

    /// Takes the notes away that say more than this: nobody has died of it this time. A note that is not found now does
    /// no harm before the message has been suspect, and alone, twice more.
    pub(super) async fn survived(&self, message: &str, crashes: u32) {
        match self.take(|note| note.message == message && note.crashes > crashes).await {
            Ok((_, outdated)) if outdated.is_empty() => {}
            Ok((_, outdated)) => {
                for batch in outdated.chunks(BATCH) {
                    if let Err(error) = self.taker.delete(batch).await {
                        tracing::debug!(%error, "a note on a suspect stays until it expires");
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "the notes on suspects cannot be read"),
        }
    }

    /// While we hold a message nobody else writes notes on it: what was read since we received it is all there is.
    async fn crashes(&self, message: &str, received: Moment) -> Result<u32, PublishError> {
        let count = |notes: &[Note]| {
            let counts = notes.iter().filter(|note| note.message == message).map(|note| note.crashes);
            counts.max().unwrap_or(0)
        };
        if let Some((when, notes)) = &*self.read.lock().unwrap_or_else(PoisonError::into_inner)
            && when.elapsed() < received.elapsed()
        {
            return Ok(count(notes));
        }
        let now = Moment::now();
        let (notes, _) = self.take(|_| false).await?;
        let crashes = count(&notes);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, notes));
        Ok(crashes)
    }

    /// Reads all notes. Those that are wanted stay hidden from others for a while.
    async fn take(&self, wanted: impl Fn(&Note) -> bool) -> Result<(Vec<Note>, Vec<Taken>), PublishError> {
        let (mut notes, mut kept, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..MOST_BATCHES {
            let batch = self.taker.take(BATCH, WAIT, LEASE).await?;
            if batch.is_empty() {
                break;
            }
            for taken in batch {
                let note: Option<Note> = serde_json::from_str(&taken.body).ok();
                let place = if note.as_ref().is_some_and(&wanted) { &mut kept } else { &mut others };
                place.push(taken);
                notes.extend(note);
            }
        }
        for batch in others.chunks(BATCH) {
            self.taker.give_back(batch).await;
        }
        Ok((notes, kept))
    }
}
