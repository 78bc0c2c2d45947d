//! Arguments and logs.

use std::io;

use lexopt::Arg::{Long, Short, Value};
use tracing_subscriber::EnvFilter;
use webhook_queue::Env;

pub(crate) const HELP: &str = "\
Takes webhooks over HTTP and answers 200 when a durable queue has confirmed them.

usage: webhook-forwarder           serve
       webhook-forwarder setup     declare the queue, once
       webhook-forwarder check     say what could be lost, and how to mend it
       webhook-forwarder --help | --version

Everything is configured by environment variables; the two that matter first:
  QUEUE_URL                   amqps://user:password@host/vhost, or sqlite:path
  SOURCE_<NAME>_ACCESS_KEY    receive at /webhooks/<name>?key=...";

/// What the program is asked to do.
pub(crate) enum Command {
    Serve,
    Setup,
    Check,
    Help,
    Version,
}

pub(crate) fn parse() -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let command = match parser.next()? {
        None => return Ok(Command::Serve),
        Some(Long("help") | Short('h')) => return Ok(Command::Help),
        Some(Long("version") | Short('V')) => return Ok(Command::Version),
        Some(Value(word)) if word == "setup" => Command::Setup,
        Some(Value(word)) if word == "check" => Command::Check,
        Some(other) => return Err(other.unexpected()),
    };
    match parser.next()? {
        None => Ok(command),
        Some(other) => Err(other.unexpected()),
    }
}

/// lapin calls it an error of its own when a broker says that a queue does not exist. Whatever of that matters is said by
/// the queue, in its words.
const DEFAULT_FILTER: &str = "info,lapin=off";

/// `LOG_FORMAT`, with the filter from `RUST_LOG`.
pub(crate) struct LogFormat {
    json: bool,
    filter: EnvFilter,
}

impl LogFormat {
    pub(crate) fn from_env(env: &mut Env) -> LogFormat {
        let json = env.parsed("LOG_FORMAT", false, |text| match text {
            "json" => Ok(true),
            "text" => Ok(false),
            _ => Err(format!("'{text}' is neither text nor json")),
        });
        let filter = env.parsed("RUST_LOG", EnvFilter::new(DEFAULT_FILTER), |text| {
            EnvFilter::try_new(text).map_err(|_| format!("'{text}' is not a log filter, like info or warn,lapin=error"))
        });
        LogFormat { json, filter }
    }

    /// From here on everything is logged to stderr.
    pub(crate) fn start(self) {
        let logs = tracing_subscriber::fmt().with_env_filter(self.filter).with_writer(io::stderr).with_target(false);
        if self.json { logs.json().flatten_event(true).init() } else { logs.with_ansi(false).init() }
    }
}
