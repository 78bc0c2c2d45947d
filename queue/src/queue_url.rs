//! One queue's address.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::config::Role;
use crate::env::{ConfigError, Problem};
use crate::publish_url::PublishUrl;

/// Where the queue is, and so which backend carries it.
#[derive(Clone)]
pub enum QueueUrl {
    /// `amqp://` or `amqps://`, with its password.
    Amqp(SecretString),
    /// `https://user:password@host/api/exchanges/{vhost}/{exchange}/publish`, or the guide's `AmqpEndpoint` and
    /// `AmqpAuthHeader`: publishing through RabbitMQ's management API.
    RabbitMqHttp(PublishUrl),
    /// `https://sqs.{region}.amazonaws.com/{account}/{name}`, or `sqs+http://` for an emulator
    Sqs(String),
    /// `sqlite:path`
    Sqlite(PathBuf),
}

impl QueueUrl {
    /// Reads a queue URL. The error names what is understood, never the URL.
    pub fn parse(text: &str) -> Result<QueueUrl, String> {
        let understood =
            "must be an amqp:// or amqps:// address, that of a management API or of an SQS queue, or sqlite:path";
        match text.split_once(':') {
            Some(("amqp" | "amqps", rest)) if rest.starts_with("//") && rest.len() > 2 => {
                if cfg!(feature = "rabbitmq") {
                    Ok(QueueUrl::Amqp(text.to_owned().into()))
                } else {
                    Err(not_compiled_in("rabbitmq"))
                }
            }
            Some((scheme, rest)) if scheme == "sqs+http" || (scheme == "https" && rest.starts_with("//sqs.")) => {
                sqs(text)
            }
            Some(("http" | "https", _)) => {
                PublishUrl::parse(text).and_then(|url| of_publish_url(url, Role::Forwarder)).map(|(queue, _)| queue)
            }
            Some(("sqlite", path)) if !path.is_empty() => {
                if cfg!(feature = "sqlite") {
                    Ok(QueueUrl::Sqlite(PathBuf::from(path)))
                } else {
                    Err(not_compiled_in("sqlite"))
                }
            }
            // Only what is a scheme for sure: else it could be half of a password.
            Some((scheme, rest)) if rest.starts_with("//") && scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
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
            QueueUrl::RabbitMqHttp(url) => url.to_string(),
            QueueUrl::Sqs(url) => url.clone(),
            QueueUrl::Sqlite(path) => format!("sqlite:{}", absolute(path).display()),
        }
    }
}

impl fmt::Debug for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// The queue of somebody who publishes there; for a consumer the same broker over AMQP.
pub(crate) fn of_publish_url(url: PublishUrl, role: Role) -> Result<(QueueUrl, Option<String>), String> {
    let exchange = Some(url.exchange().to_owned());
    if role != Role::Consumer {
        let compiled_in = cfg!(feature = "rabbitmq_http");
        return if compiled_in {
            Ok((QueueUrl::RabbitMqHttp(url), exchange))
        } else {
            Err(not_compiled_in("rabbitmq_http"))
        };
    }
    let queue = QueueUrl::parse(&url.amqp_url())?;
    let name = queue.redacted();
    tracing::info!(queue = name, "reading from {name}, as derived from the address of the management API, {url}");
    Ok((queue, exchange))
}

#[cfg(feature = "sqs")]
fn sqs(text: &str) -> Result<QueueUrl, String> {
    crate::sqs::Address::parse(text).map(|_| QueueUrl::Sqs(text.to_owned()))
}

#[cfg(not(feature = "sqs"))]
fn sqs(_: &str) -> Result<QueueUrl, String> {
    Err(not_compiled_in("sqs"))
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
