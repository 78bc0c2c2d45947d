//! The publishing half.

use tokio::time::Instant;

use super::pool::Pool;
use super::transport::Dialer;
use super::wire;
use crate::broker::{MAX_HEADER_BYTES, routing_key};
use crate::config::QueueConfig;
use crate::env::ConfigError;
use crate::event::Event;
use crate::ladder::OneOfSeveral;
use crate::publish::{Publish, PublishError, Readiness};
use crate::topology::Topology;

/// RabbitMQ's own limit on a message since 4.0; before, it was eight times as much.
pub(super) const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Publishes every event persistent, mandatory and confirmed.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    pool: Pool,
    topology: Topology,
}

impl Publisher {
    pub(crate) fn open(config: &QueueConfig) -> Result<Publisher, ConfigError> {
        let topology = Topology::new(config);
        let pool = Pool::open(Dialer::new(config)?, connection_name("publish"), Some(topology.exchange.clone()));
        Ok(Publisher { pool, topology })
    }
}

impl OneOfSeveral for Publisher {
    async fn publish_as_one(&self, event: &Event, deadline: Instant, is_last: bool) -> Result<(), PublishError> {
        if event.body.len() > MAX_BODY_BYTES {
            return Err(PublishError::TooLarge { limit: MAX_BODY_BYTES });
        }
        let routing_key = routing_key(&self.topology, event)?;
        let message = wire::encode(event);
        if message.header_bytes() > MAX_HEADER_BYTES {
            return Err(PublishError::Refused(format!("the event's headers take more than {MAX_HEADER_BYTES} bytes")));
        }
        self.pool.publish_as_one(&self.topology.exchange, &routing_key, &message, deadline, is_last).await
    }
}

impl Publish for Publisher {
    async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        self.publish_as_one(event, deadline, true).await
    }

    fn readiness(&self) -> Readiness {
        self.pool.readiness()
    }

    fn max_body_bytes(&self) -> usize {
        MAX_BODY_BYTES
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// What the management page shows for one of our connections: whose it is and what it does. A serverless function has
/// as many processes of one name as its platform likes, told apart by the platform's name for each.
pub(super) fn connection_name(purpose: &str) -> String {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let on = |function, instance| Some((variable(function)?, variable(instance)?));
    let serverless = on("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_STREAM_NAME")
        .or_else(|| on("WEBSITE_SITE_NAME", "WEBSITE_INSTANCE_ID"));
    let (whose, which) = serverless.unwrap_or_else(|| {
        let program = std::env::args_os().next().map(std::path::PathBuf::from);
        let program =
            program.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        (program.unwrap_or_else(|| "webhook-queue".to_owned()), format!("process {}", std::process::id()))
    });
    format!("{whose} {purpose} ({which})")
}
