//! The publishing half.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::Client;
use super::gather::Gather;
use super::message::Outgoing;
use super::sends::Sending;
use super::{MAX_MESSAGE_BYTES, wire};
use crate::config::QueueConfig;
use crate::env::ConfigError;
use crate::event::Event;
use crate::ladder::OneOfSeveral;
use crate::publish::{Publish, PublishError, Readiness};

/// What is kept free for the headers and the other facts of a request.
const ROOM_FOR_ATTRIBUTES: usize = 64 * 1024;
/// What is left of a message in base64.
const MAX_BODY_BYTES: usize = (MAX_MESSAGE_BYTES - ROOM_FOR_ATTRIBUTES) / 4 * 3;
/// How many events may be under way, or wait for a request; whoever comes next waits for a place.
const PLACES: u32 = 1024;
/// How long a bad word of the queue counts: nobody asks it while nothing is published.
const MEMORY: Duration = Duration::from_secs(5);
/// How long closing waits for requests in flight.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Publishes an event in a request of its own, or with others that are published at the same time. `Ok` is SQS's word that
/// it has stored this message.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    is_fifo: bool,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sends: Gather<Sending>,
    places: Arc<Semaphore>,
    trouble: Mutex<Option<(SystemTime, String)>>,
}

impl Publisher {
    pub(crate) fn open(config: &QueueConfig, url: &str) -> Result<Publisher, ConfigError> {
        let client = Client::new(config, url)?;
        let is_fifo = client.address.is_fifo();
        let places = Arc::new(Semaphore::new(PLACES as usize));
        let shared = Shared { sends: Gather::start(client), places, trouble: Mutex::default() };
        Ok(Publisher { is_fifo, shared: Arc::new(shared) })
    }

    async fn send(&self, message: Outgoing, deadline: Instant) -> Result<(), PublishError> {
        let closed = || PublishError::Unreachable("the publisher was closed".into());
        let place = Arc::clone(&self.shared.places).acquire_owned().await.map_err(|_| closed())?;
        let answer = self.shared.sends.ask(Sending { message, deadline, _place: place }).await;
        answer.unwrap_or_else(|| Err(closed()))
    }

    fn remember(&self, outcome: &Result<(), PublishError>) {
        let trouble = outcome.as_ref().err().map(|error| (SystemTime::now(), error.to_string()));
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl OneOfSeveral for Publisher {}

impl Publish for Publisher {
    async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        if event.body.len() > MAX_BODY_BYTES {
            return Err(PublishError::TooLarge { limit: MAX_BODY_BYTES });
        }
        let mut message = Outgoing::first(event);
        if !message.fits() {
            let bytes = message.bytes();
            return Err(PublishError::Refused(format!(
                "the event takes {bytes} bytes with its headers; SQS carries {MAX_MESSAGE_BYTES}"
            )));
        }
        if deadline <= Instant::now() {
            return Err(PublishError::TimedOut);
        }
        if self.is_fifo {
            message = message.in_group(wire::group(event));
        }
        let sent = timeout_at(deadline, self.send(message, deadline)).await;
        let outcome = sent.unwrap_or(Err(PublishError::TimedOut));
        self.remember(&outcome);
        outcome
    }

    fn readiness(&self) -> Readiness {
        match &*self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((when, reason)) if when.elapsed().is_ok_and(|age| age < MEMORY) => Readiness::NotReady(reason.clone()),
            _ => Readiness::Ready,
        }
    }

    fn max_body_bytes(&self) -> usize {
        MAX_BODY_BYTES
    }

    async fn close(&self) {
        // Whoever holds a place is in flight.
        if timeout(CLOSE_WAIT, self.shared.places.acquire_many(PLACES)).await.is_err() {
            tracing::warn!("SQS did not answer; publishes in flight are given up");
        }
        self.shared.places.close();
    }
}
