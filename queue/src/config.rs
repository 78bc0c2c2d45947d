//! `QUEUE_*`: which queue, and its topology.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::env::{ConfigError, Env, Problem, duration, yes_or_no};

const DEFAULT_SQLITE_FILE: &str = "webhooks.db";
const DEFAULT_QUEUE: &str = "e-conomic-webhooks";
const DEFAULT_EXCHANGE: &str = "e-conomic.direct";
const DEFAULT_ROUTING_KEY: &str = "webhook";
const DEFAULT_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The variables that only RabbitMQ has a use for.
const RABBITMQ_ONLY: [&str; 7] = [
    "QUEUE_NAME",
    "QUEUE_EXCHANGE",
    "QUEUE_ROUTING_KEY",
    "QUEUE_TYPE",
    "QUEUE_DECLARE",
    "QUEUE_MANAGEMENT_URL",
    "QUEUE_CA_FILE",
];
/// What AMQP can carry in a short string: names of queues and exchanges, routing keys.
const MAX_NAME_BYTES: usize = 255;
/// Room for `.retry.1200s` and the like behind the queue's name.
const MAX_QUEUE_NAME_BYTES: usize = 200;

/// Everything the `QUEUE_*` variables say.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// `QUEUE_URL`
    pub url: QueueUrl,
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
}

/// Where the queue is, and so which backend carries it.
#[derive(Clone)]
pub enum QueueUrl {
    /// `amqp://` or `amqps://`, with its password.
    Amqp(SecretString),
    /// `sqlite:path`
    Sqlite(PathBuf),
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
    /// Reading the queue.
    Consumer,
}

impl QueueConfig {
    /// Reads all `QUEUE_*` variables. Problems are noted in `env`.
    pub fn from_env(env: &mut Env, role: Role) -> QueueConfig {
        let url = read_url(env, role);
        if let QueueUrl::Sqlite(_) = url {
            for name in RABBITMQ_ONLY.into_iter().filter(|name| env.is_set(name)).collect::<Vec<_>>() {
                env.problem(
                    name,
                    "has no effect on a sqlite: queue; remove it, or set QUEUE_URL to an amqps:// address",
                );
            }
        }
        let config = QueueConfig {
            name: env.parsed("QUEUE_NAME", DEFAULT_QUEUE.to_owned(), |text| name(text, MAX_QUEUE_NAME_BYTES)),
            exchange: env.parsed("QUEUE_EXCHANGE", DEFAULT_EXCHANGE.to_owned(), |text| name(text, MAX_NAME_BYTES)),
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
        QueueConfig {
            url,
            name: DEFAULT_QUEUE.to_owned(),
            exchange: DEFAULT_EXCHANGE.to_owned(),
            routing_key: DEFAULT_ROUTING_KEY.to_owned(),
            ttl: DEFAULT_TTL,
            queue_type: QueueType::Classic,
            declare: true,
            management_url: None,
            ca_file: None,
        }
    }
}

impl QueueUrl {
    /// Reads a queue URL. The error names what is understood, never the URL.
    pub fn parse(text: &str) -> Result<QueueUrl, String> {
        let understood = "must be an amqp:// or amqps:// address, or sqlite:path";
        match text.split_once(':') {
            Some(("amqp" | "amqps", rest)) if rest.starts_with("//") && rest.len() > 2 => {
                if cfg!(feature = "rabbitmq") {
                    Ok(QueueUrl::Amqp(text.to_owned().into()))
                } else {
                    Err(not_compiled_in("rabbitmq"))
                }
            }
            Some(("sqlite", path)) if !path.is_empty() => {
                if cfg!(feature = "sqlite") {
                    Ok(QueueUrl::Sqlite(PathBuf::from(path)))
                } else {
                    Err(not_compiled_in("sqlite"))
                }
            }
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+') => {
                Err(format!("{understood}; '{scheme}:' is not supported"))
            }
            _ => Err(understood.to_owned()),
        }
    }

    /// The URL without user, password and parameters: fit for a log.
    pub fn redacted(&self) -> String {
        match self {
            QueueUrl::Amqp(url) => {
                let url = url.expose_secret();
                let (scheme, rest) = url.split_once("://").unwrap_or(("amqp", url));
                let (authority, path) =
                    rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                let without_parameters = |text: &str| text.split(['?', '#']).next().unwrap_or_default().to_owned();
                match path {
                    Some(path) => format!("{scheme}://{}/{}", without_parameters(host), without_parameters(path)),
                    None => format!("{scheme}://{}", without_parameters(host)),
                }
            }
            QueueUrl::Sqlite(path) => format!("sqlite:{}", absolute(path).display()),
        }
    }
}

impl fmt::Debug for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

fn read_url(env: &mut Env, role: Role) -> QueueUrl {
    let default = QueueUrl::Sqlite(PathBuf::from(DEFAULT_SQLITE_FILE));
    let Some(text) = env.text("QUEUE_URL") else {
        match role {
            Role::LocalForwarder if cfg!(feature = "sqlite") => {}
            Role::LocalForwarder | Role::Forwarder => env.problem(
                "QUEUE_URL",
                "is not set: a forwarder that others can reach needs an explicit queue, like amqps://user:password@host/vhost",
            ),
            Role::Consumer => env.problem(
                "QUEUE_URL",
                "is not set: name the queue that the forwarder publishes to, like amqps://user:password@host/vhost or \
                 sqlite:webhooks.db",
            ),
        }
        return default;
    };
    QueueUrl::parse(&text).unwrap_or_else(|problem| {
        env.problem("QUEUE_URL", problem);
        default
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn not_compiled_in(feature: &str) -> String {
    format!("names a backend that is not part of this program: build it with the cargo feature '{feature}'")
}

/// For a [`QueueUrl`] made by hand in a program without its backend.
pub(crate) fn missing_backend() -> ConfigError {
    let message = "names a backend that is not part of this program".to_owned();
    ConfigError { problems: vec![Problem { variable: "QUEUE_URL".to_owned(), message }] }
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
