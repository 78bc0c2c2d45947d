//! The crate's error: what kind it is, and what it came from.

use std::{fmt, io};

use webhook_queue::{ConfigError, ReplayError, chain};

/// Why a consumer could not start, or a [`Handle`](crate::Handle) could not do what it was asked.
///
/// A running consumer never fails: a queue that is away is waited for, and a failing handler is retried.
///
/// Its `Debug` is the error with its causes in one line ([`chain`](crate::chain)), so that a `main` that returns it prints
/// what to do.
pub struct Error(Kind);

enum Kind {
    Config(ConfigError),
    Router(Vec<String>),
    Signals(io::Error),
    Stopped,
    Replay(ReplayError),
}

impl Error {
    /// An environment variable or a setting is wrong. The source names each of them.
    pub fn is_config(&self) -> bool {
        matches!(self.0, Kind::Config(_))
    }

    /// Patterns of the router are malformed, or match the same events equally well.
    pub fn is_router(&self) -> bool {
        matches!(self.0, Kind::Router(_))
    }

    /// The consumer is draining or has stopped.
    pub fn is_stopped(&self) -> bool {
        matches!(self.0, Kind::Stopped)
    }

    /// How many dead letters a replay had moved before it failed, where this is the error of a replay.
    pub fn moved(&self) -> Option<usize> {
        match &self.0 {
            Kind::Replay(error) => Some(error.moved),
            _ => None,
        }
    }

    pub(crate) fn router(problems: Vec<String>) -> Error {
        Error(Kind::Router(problems))
    }

    pub(crate) fn signals(source: io::Error) -> Error {
        Error(Kind::Signals(source))
    }

    pub(crate) fn stopped() -> Error {
        Error(Kind::Stopped)
    }
}

impl From<ConfigError> for Error {
    fn from(source: ConfigError) -> Error {
        Error(Kind::Config(source))
    }
}

impl From<ReplayError> for Error {
    fn from(source: ReplayError) -> Error {
        Error(Kind::Replay(source))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Config(_) => write!(f, "the consumer is not configured correctly"),
            Kind::Router(problems) => write!(f, "the router cannot be built: {}", problems.join("; ")),
            Kind::Signals(_) => write!(f, "the process cannot listen for signals"),
            Kind::Stopped => write!(f, "the consumer is draining or has stopped"),
            Kind::Replay(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Config(error) => Some(error),
            Kind::Signals(error) => Some(error),
            Kind::Replay(error) => error.source(),
            Kind::Router(_) | Kind::Stopped => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Consumer, Env};

    #[test]
    fn a_main_that_returns_it_prints_what_to_do() {
        let error = Consumer::with_env(Env::from_pairs([("QUEUE_URL", "kafka:")])).unwrap_err();
        assert_eq!(
            format!("{error:?}"),
            "the consumer is not configured correctly: QUEUE_URL: must be an amqp:// or amqps:// address, that of \
             a management API or of an SQS queue, or sqlite:path"
        );
    }
}
