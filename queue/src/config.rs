//! `QUEUE_*`: which queue, and its topology.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::credentials::AwsCredentials;
use crate::env::{Env, duration, yes_or_no};
use crate::queue_url::QueueUrl;
use crate::queues::read_queues;

const DEFAULT_QUEUE: &str = "e-conomic-webhooks";
const DEFAULT_EXCHANGE: &str = "e-conomic.direct";
const DEFAULT_ROUTING_KEY: &str = "webhook";
const DEFAULT_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What AMQP can carry in a short string: names of queues and exchanges, routing keys.
const MAX_NAME_BYTES: usize = 255;
/// Room for `.retry.1200s` and the like behind the queue's name.
const MAX_QUEUE_NAME_BYTES: usize = 200;

/// Everything the `QUEUE_*` variables say.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// `QUEUE_URL`
    pub url: QueueUrl,
    /// `QUEUE_FALLBACK_URLS`: where a forwarder publishes, in this order, what the queues before do not take.
    pub fallbacks: Vec<QueueUrl>,
    /// `QUEUE_NAME`
    pub name: String,
    /// `QUEUE_EXCHANGE`
    pub exchange: String,
    /// `QUEUE_ROUTING_KEY`
    pub routing_key: String,
    /// `QUEUE_TTL`
    pub ttl: Duration,
    /// `QUEUE_TYPE`
    pub queue_type: QueueType,
    /// `QUEUE_DECLARE`
    pub declare: bool,
    /// `QUEUE_MANAGEMENT_URL`: holds a password, so it is never printed.
    pub management_url: Option<SecretString>,
    /// `QUEUE_CA_FILE`
    pub ca_file: Option<PathBuf>,
    /// `AWS_*`: read where one of the queues is SQS.
    pub aws_credentials: Option<AwsCredentials>,
}

/// What kind of queue RabbitMQ makes of the main queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueType {
    /// As in the e-conomic guide: one replica, expired events vanish.
    Classic,
    /// Replicated; expired events become dead letters.
    Quorum,
}

/// Which half reads the configuration: they differ in what an unset `QUEUE_URL` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Listening on a loopback address: the embedded queue is good enough to try things out.
    LocalForwarder,
    /// Listening where others can reach it.
    Forwarder,
    /// Running as a function, without a disk that lasts: the queue must be elsewhere.
    Function,
    /// Reading the queue.
    Consumer,
}

impl QueueConfig {
    /// Reads all `QUEUE_*` variables, and the guide's `AmqpEndpoint` and `AmqpAuthHeader`. Problems are noted in `env`.
    pub fn from_env(env: &mut Env, role: Role) -> QueueConfig {
        let (url, exchange, fallbacks) = read_queues(env, role);
        let uses_aws = std::iter::once(&url).chain(&fallbacks).any(|queue| matches!(queue, QueueUrl::Sqs(_)));
        let aws_credentials = if uses_aws { AwsCredentials::from_env(env) } else { None };
        let config = QueueConfig {
            name: env.parsed("QUEUE_NAME", DEFAULT_QUEUE.to_owned(), |text| name(text, MAX_QUEUE_NAME_BYTES)),
            exchange: read_exchange(env, exchange),
            routing_key: env.parsed("QUEUE_ROUTING_KEY", DEFAULT_ROUTING_KEY.to_owned(), routing_key),
            ttl: env.parsed("QUEUE_TTL", DEFAULT_TTL, duration),
            queue_type: env.parsed("QUEUE_TYPE", QueueType::Classic, |text| match text {
                "classic" => Ok(QueueType::Classic),
                "quorum" => Ok(QueueType::Quorum),
                _ => Err(format!("'{text}' is neither classic nor quorum")),
            }),
            declare: env.parsed("QUEUE_DECLARE", true, yes_or_no),
            management_url: env.text("QUEUE_MANAGEMENT_URL").map(SecretString::from),
            ca_file: env.text("QUEUE_CA_FILE").map(PathBuf::from),
            url,
            fallbacks,
            aws_credentials,
        };
        if config.management_url.as_ref().is_some_and(|url| !url.expose_secret().starts_with("http")) {
            env.problem(
                "QUEUE_MANAGEMENT_URL",
                "must start with https:// (or http://), like https://user:password@host",
            );
        }
        if let Some(path) = config.ca_file.as_deref().filter(|path| !path.is_file()) {
            env.problem("QUEUE_CA_FILE", format!("there is no file {}", path.display()));
        }
        env.refuse_unknown("QUEUE_");
        config
    }

    /// A configuration with every default, for the queue at `url`.
    pub fn new(url: QueueUrl) -> QueueConfig {
        let exchange = match &url {
            QueueUrl::RabbitMqHttp(url) => url.exchange(),
            _ => DEFAULT_EXCHANGE,
        };
        QueueConfig {
            fallbacks: Vec::new(),
            name: DEFAULT_QUEUE.to_owned(),
            exchange: exchange.to_owned(),
            routing_key: DEFAULT_ROUTING_KEY.to_owned(),
            ttl: DEFAULT_TTL,
            queue_type: QueueType::Classic,
            declare: true,
            management_url: None,
            ca_file: None,
            aws_credentials: None,
            url,
        }
    }

    /// The same configuration with each of its queues as the only one, in their order.
    pub fn rungs(&self) -> impl Iterator<Item = QueueConfig> {
        let rung = |url: &QueueUrl| {
            let exchange = match url {
                QueueUrl::RabbitMqHttp(url) => url.exchange().to_owned(),
                _ => self.exchange.clone(),
            };
            QueueConfig { url: url.clone(), fallbacks: Vec::new(), exchange, ..self.clone() }
        };
        std::iter::once(&self.url).chain(&self.fallbacks).map(rung)
    }
}

/// An exchange in the address wins.
fn read_exchange(env: &mut Env, in_url: Option<String>) -> String {
    let exchange = env.parsed("QUEUE_EXCHANGE", None, |text| exchange_name(text).map(Some));
    if let (Some(named), Some(exchange)) = (&in_url, &exchange)
        && named != exchange
    {
        env.problem("QUEUE_EXCHANGE", format!("has no effect: the queue's address names '{named}'; remove it"));
    }
    in_url.or(exchange).unwrap_or_else(|| DEFAULT_EXCHANGE.to_owned())
}

/// An exchange's name, as it must be.
pub(crate) fn exchange_name(text: &str) -> Result<String, String> {
    name(text, MAX_NAME_BYTES)
}

fn name(text: &str, most: usize) -> Result<String, String> {
    if text.len() > most {
        return Err(format!("is {} bytes long; the most is {most}", text.len()));
    }
    if text.starts_with("amq.") {
        return Err("starts with amq., which RabbitMQ keeps for itself".to_owned());
    }
    Ok(text.to_owned())
}

fn routing_key(text: &str) -> Result<String, String> {
    if text.replace("{source}", "").replace("{type}", "").contains(['{', '}']) {
        return Err("may contain {source} and {type}, and no other braces".to_owned());
    }
    name(text, MAX_NAME_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], role: Role) -> Result<QueueConfig, String> {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let config = QueueConfig::from_env(&mut env, role);
        env.finish().map(|()| config).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_guides_topology() {
        let config = read(&[("QUEUE_URL", "amqp://guest:guest@localhost")], Role::Consumer).unwrap();
        assert_eq!((config.name.as_str(), config.exchange.as_str()), ("e-conomic-webhooks", "e-conomic.direct"));
        assert_eq!((config.routing_key.as_str(), config.ttl.as_millis()), ("webhook", 604_800_000));
        assert_eq!((config.queue_type, config.declare), (QueueType::Classic, true));
    }

    #[test]
    fn only_a_local_forwarder_may_leave_the_queue_open() {
        assert!(matches!(read(&[], Role::LocalForwarder).unwrap().url, QueueUrl::Sqlite(_)));
        assert!(read(&[], Role::Forwarder).unwrap_err().contains("QUEUE_URL: is not set"));
        assert!(read(&[], Role::Consumer).unwrap_err().contains("QUEUE_URL: is not set"));
    }

    #[test]
    fn a_setting_without_effect_is_refused() {
        let error = read(&[("QUEUE_URL", "sqlite:x.db"), ("QUEUE_TYPE", "quorum")], Role::Consumer).unwrap_err();
        assert_eq!(
            error,
            "QUEUE_TYPE: has no effect on a sqlite: queue; remove it, or set QUEUE_URL to an amqps:// address"
        );
    }

    #[test]
    fn a_misspelt_name_is_refused() {
        let error = read(&[("QUEUE_URL", "sqlite:x.db"), ("QUEUE_TLL", "1d")], Role::Consumer).unwrap_err();
        assert_eq!(error, "QUEUE_TLL: is not a known variable: was QUEUE_TTL meant?");
    }

    #[test]
    fn a_password_never_shows() {
        let config = read(&[("QUEUE_URL", "amqps://u:s3cret@host:5671/v%2Fh?heartbeat=3")], Role::Consumer).unwrap();
        assert_eq!(config.url.redacted(), "amqps://host:5671/v%2Fh");
        assert!(!format!("{config:?}").contains("s3cret"));
        let error = read(&[("QUEUE_URL", "s3cret")], Role::Consumer).unwrap_err();
        assert!(!error.contains("s3cret"));
        let error = read(&[("QUEUE_URL", "u:s3cret@host")], Role::Consumer).unwrap_err();
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn an_unknown_backend_is_named() {
        let error = read(&[("QUEUE_URL", "kafka://host")], Role::Consumer).unwrap_err();
        assert!(error.contains("'kafka:' is not supported"), "{error}");
    }
}
