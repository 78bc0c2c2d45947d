//! The publishing half.

use std::sync::Arc;

use http::Method;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::judge;
use super::watch::{Known, Watch};
use super::wire::{self, MAX_BODY_BYTES};
use crate::broker::{CallError, Client, MAX_HEADER_BYTES, Properties, routing_key};
use crate::config::QueueConfig;
use crate::env::{ConfigError, Problem};
use crate::event::Event;
use crate::http_client::client_config;
use crate::ladder::OneOfSeveral;
use crate::publish::{Publish, PublishError, Readiness};
use crate::publish_url::PublishUrl;
use crate::topology::Topology;

/// How many publishes are under way at once, each on a connection of its own. For each of them the broker opens an
/// internal connection and a channel, so more of them make each of them slower.
const MAX_AT_ONCE: u16 = 32;

/// Publishes every event persistent, mandatory and confirmed.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    vhost: String,
    topology: Topology,
    permits: Semaphore,
    known: Arc<Known>,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

impl Publisher {
    pub(crate) fn open(config: &QueueConfig, url: &PublishUrl) -> Result<Publisher, ConfigError> {
        let (topology, vhost) = (Topology::new(config), url.vhost().to_owned());
        let (known, stop) = (Arc::new(Known::nothing()), CancellationToken::new());
        let watch = Watch {
            client: client(config, url, 1)?,
            vhost: vhost.clone(),
            exchange: topology.exchange.clone(),
            known: Arc::clone(&known),
        };
        let shared = Shared {
            client: client(config, url, MAX_AT_ONCE.into())?,
            vhost,
            topology,
            permits: Semaphore::new(MAX_AT_ONCE.into()),
            known,
            _stop_when_dropped: stop.clone().drop_guard(),
            stop: stop.clone(),
        };
        tokio::spawn(watch.run(stop));
        Ok(Publisher { shared: Arc::new(shared) })
    }
}

/// The client of the broker that the address names. Connects to nobody yet.
pub(super) fn client(config: &QueueConfig, url: &PublishUrl, most_idle: usize) -> Result<Client, ConfigError> {
    let problem = |variable: &str, message: String| ConfigError {
        problems: vec![Problem { variable: variable.to_owned(), message }],
    };
    if config.ca_file.is_some() && !url.is_tls() {
        return Err(problem("QUEUE_CA_FILE", "has no effect on an http:// address: use https://".to_owned()));
    }
    let tls = url.is_tls().then(|| client_config(config.ca_file.as_deref())).transpose();
    let tls = tls.map_err(|error| problem("QUEUE_CA_FILE", error.to_string()))?;
    Client::new(url.host(), tls, url.user(), url.password(), most_idle)
        .map_err(|error| problem("QUEUE_URL", error.to_string()))
}

impl Shared {
    async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        if event.body.len() > MAX_BODY_BYTES {
            return Err(PublishError::TooLarge { limit: MAX_BODY_BYTES });
        }
        let routing_key = routing_key(&self.topology, event)?;
        let properties = Properties::of(event);
        if properties.frame_bytes() > MAX_HEADER_BYTES {
            return Err(PublishError::Refused(format!("the event's headers take more than {MAX_HEADER_BYTES} bytes")));
        }
        if let Some(alarm) = self.known.alarm() {
            return Err(PublishError::Blocked(alarm));
        }
        let permit = timeout_at(deadline, self.permits.acquire()).await.map_err(|_| PublishError::TimedOut)?;
        let _permit = permit.map_err(|_| PublishError::Unreachable("the publisher was closed".into()))?;
        let request = wire::encode(event, &properties, &routing_key);
        let segments = ["exchanges", &self.vhost, &self.topology.exchange, "publish"];
        match self.client.call(&Method::POST, &segments, request, deadline).await {
            Ok(answer) => judge(&answer, &self.topology, &self.vhost, &routing_key, event.body.len()),
            Err(CallError::TimedOut) => Err(PublishError::TimedOut),
            Err(CallError::Broken(error)) => Err(PublishError::Unreachable(error)),
        }
    }
}

impl OneOfSeveral for Publisher {}

impl Publish for Publisher {
    async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        if deadline <= Instant::now() {
            return Err(PublishError::TimedOut);
        }
        let outcome = self.shared.publish(event, deadline).await;
        self.shared.known.note(&outcome);
        outcome
    }

    fn readiness(&self) -> Readiness {
        self.shared.known.readiness()
    }

    fn max_body_bytes(&self) -> usize {
        MAX_BODY_BYTES
    }

    async fn close(&self) {
        // Whoever has a permit keeps it until its deadline at the latest.
        let _all = self.shared.permits.acquire_many(MAX_AT_ONCE.into()).await;
        self.shared.permits.close();
        self.shared.stop.cancel();
        self.shared.client.drop_connections();
    }
}
