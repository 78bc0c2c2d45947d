//! The publishing half.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::Client;
use super::message::Outgoing;
use super::{MAX_MESSAGE_BYTES, wire};
use crate::config::QueueConfig;
use crate::env::ConfigError;
use crate::event::Event;
use crate::publish::{Publish, PublishError, Readiness};

/// What is kept free for the headers and the other facts of a request.
const ROOM_FOR_ATTRIBUTES: usize = 64 * 1024;
/// What is left of a message in base64.
const MAX_BODY_BYTES: usize = (MAX_MESSAGE_BYTES - ROOM_FOR_ATTRIBUTES) / 4 * 3;
/// How many requests, and so connections, there are at a time; whoever comes next waits.
const AT_ONCE: u32 = 128;
/// How long a bad word of the queue counts: nobody asks it while nothing is published.
const MEMORY: Duration = Duration::from_secs(5);
/// How long closing waits for requests in flight.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Publishes every event in a request of its own: `Ok` is SQS's word that it has stored the message.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    client: Client,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    permits: Semaphore,
    trouble: Mutex<Option<(SystemTime, String)>>,
}

impl Publisher {
    pub(crate) fn open(config: &QueueConfig, url: &str) -> Result<Publisher, ConfigError> {
        let shared = Shared { permits: Semaphore::new(AT_ONCE as usize), trouble: Mutex::default() };
        Ok(Publisher { client: Client::new(config, url)?, shared: Arc::new(shared) })
    }

    async fn send(&self, message: Outgoing, deadline: Instant) -> Result<(), PublishError> {
        let closed = |_| PublishError::Unreachable("the publisher was closed".into());
        let _permit = self.shared.permits.acquire().await.map_err(closed)?;
        message.send(&self.client, deadline).await
    }

    fn remember(&self, outcome: &Result<(), PublishError>) {
        let trouble = outcome.as_ref().err().map(|error| (SystemTime::now(), error.to_string()));
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

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
        if self.client.address.is_fifo() {
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
        if timeout(CLOSE_WAIT, self.shared.permits.acquire_many(AT_ONCE)).await.is_err() {
            tracing::warn!("SQS did not answer; publishes in flight are given up");
        }
        self.shared.permits.close();
    }
}
