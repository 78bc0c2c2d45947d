//! `setup` and `check`: what an operator does to a queue, never a part of serving.

use std::fmt;

use crate::BoxError;
use crate::config::QueueConfig;
use crate::queue_url::QueueUrl;

/// What a check found, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they were looked at.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was found, and what would be lost.
    pub what: String,
    /// The command or setting that mends it.
    pub mend: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Good,
    /// Could not be seen from here.
    Unchecked,
    /// Works, but events can be lost or delayed.
    Warning,
    /// Webhooks will not be accepted.
    Failure,
}

impl Report {
    /// Whether webhooks can be accepted.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.level != Level::Failure)
    }

    pub(crate) fn note(&mut self, level: Level, what: impl Into<String>, mend: Option<String>) {
        self.findings.push(Finding { level, what: what.into(), mend });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { level, what, mend } in &self.findings {
            let level = match level {
                Level::Good => "ok",
                Level::Unchecked => "unchecked",
                Level::Warning => "warning",
                Level::Failure => "failure",
            };
            writeln!(f, "{level:<9}  {what}")?;
            if let Some(mend) = mend {
                writeln!(f, "{:<9}  mend: {mend}", "")?;
            }
        }
        Ok(())
    }
}

/// Declares what the forwarder publishes to, once: the queue and its fallbacks. Says what it did, a line each.
pub async fn setup(config: &QueueConfig) -> Result<Vec<String>, BoxError> {
    let mut done = Vec::new();
    for rung in config.rungs() {
        done.extend(set_up_one(&rung).await?);
    }
    Ok(done)
}

async fn set_up_one(config: &QueueConfig) -> Result<Vec<String>, BoxError> {
    match &config.url {
        #[cfg(feature = "rabbitmq")]
        QueueUrl::Amqp(_) => crate::rabbitmq::setup(config).await,
        #[cfg(feature = "rabbitmq_http")]
        QueueUrl::RabbitMqHttp(url) => crate::rabbitmq_http::setup(config, url).await,
        #[cfg(feature = "sqs")]
        QueueUrl::Sqs(url) => crate::sqs::setup(config, url).await,
        #[cfg(feature = "sqlite")]
        QueueUrl::Sqlite(path) => crate::sqlite::setup(config, path).await,
        #[allow(unreachable_patterns, reason = "which arm is missing depends on the features")]
        _ => Err(crate::queue_url::missing_backend().into()),
    }
}

/// Looks at everything that could lose an event, in the queue and in its fallbacks. Changes nothing.
pub async fn check(config: &QueueConfig) -> Report {
    let mut report = Report::default();
    for rung in config.rungs() {
        report.findings.extend(check_one(&rung).await.findings);
    }
    report
}

async fn check_one(config: &QueueConfig) -> Report {
    match &config.url {
        #[cfg(feature = "rabbitmq")]
        QueueUrl::Amqp(_) => crate::rabbitmq::check(config).await,
        #[cfg(feature = "rabbitmq_http")]
        QueueUrl::RabbitMqHttp(url) => crate::rabbitmq_http::check(config, url).await,
        #[cfg(feature = "sqs")]
        QueueUrl::Sqs(url) => crate::sqs::check(config, url).await,
        #[cfg(feature = "sqlite")]
        QueueUrl::Sqlite(path) => crate::sqlite::check(config, path).await,
        #[allow(unreachable_patterns, reason = "which arm is missing depends on the features")]
        _ => {
            let mut report = Report::default();
            report.note(Level::Failure, crate::queue_url::missing_backend().to_string(), None);
            report
        }
    }
}
