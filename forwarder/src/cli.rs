//! Arguments and logs.

use std::io;

use lexopt::Arg::{Long, Short};
#[cfg(feature = "standalone")]
use lexopt::ValueExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use webhook_forwarder::Host;
use webhook_queue::Env;

#[cfg(feature = "standalone")]
pub(crate) const HELP: &str = "\
Takes webhooks over HTTP and answers 200 when a durable queue has confirmed them.

usage: webhook-forwarder           serve
       webhook-forwarder setup     declare the queue, once
       webhook-forwarder check     say what could be lost, and how to mend it
       webhook-forwarder drain     move what the fallbacks hold to the first queue
       webhook-forwarder url <base> <source> <tenant> [<type>]
                                   print the URL, with its key, to give to a tenant
       webhook-forwarder --help | --version

Everything is configured by environment variables; the two that matter first:
  QUEUE_URL                   amqps://user:password@host/vhost, https://sqs.{region}.amazonaws.com/{account}/{name},
                              or sqlite:path
  SOURCE_<NAME>_ACCESS_KEY    receive at /webhooks/<name>?key=...";

#[cfg(not(feature = "standalone"))]
pub(crate) const HELP: &str = "\
Takes webhooks over HTTP and answers 200 when a durable queue has confirmed them.

This program runs on AWS Lambda. The commands setup, check, drain and url are part of one that is built with the cargo feature
standalone.";

/// What the program is asked to do.
pub(crate) enum Command {
    Serve,
    #[cfg(feature = "standalone")]
    Setup,
    #[cfg(feature = "standalone")]
    Check,
    #[cfg(feature = "standalone")]
    Drain,
    #[cfg(feature = "standalone")]
    Url(TenantUrl),
    Help,
    Version,
}

/// What the URL of a tenant is made of.
#[cfg(feature = "standalone")]
pub(crate) struct TenantUrl {
    pub(crate) base: String,
    pub(crate) source: String,
    pub(crate) tenant: String,
    pub(crate) event_type: Option<String>,
}

pub(crate) fn parse() -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let command = match parser.next()? {
        None => return Ok(Command::Serve),
        Some(Long("help") | Short('h')) => Command::Help,
        Some(Long("version") | Short('V')) => Command::Version,
        #[cfg(feature = "standalone")]
        Some(lexopt::Arg::Value(word)) if word == "setup" => Command::Setup,
        #[cfg(feature = "standalone")]
        Some(lexopt::Arg::Value(word)) if word == "check" => Command::Check,
        #[cfg(feature = "standalone")]
        Some(lexopt::Arg::Value(word)) if word == "drain" => Command::Drain,
        #[cfg(feature = "standalone")]
        Some(lexopt::Arg::Value(word)) if word == "url" => Command::Url(TenantUrl {
            base: needed_word(&mut parser, "<base>")?,
            source: needed_word(&mut parser, "<source>")?,
            tenant: needed_word(&mut parser, "<tenant>")?,
            event_type: word_of(&mut parser)?,
        }),
        Some(other) => return Err(other.unexpected()),
    };
    match parser.next()? {
        None => Ok(command),
        Some(other) => Err(other.unexpected()),
    }
}

#[cfg(feature = "standalone")]
fn word_of(parser: &mut lexopt::Parser) -> Result<Option<String>, lexopt::Error> {
    match parser.next()? {
        None => Ok(None),
        Some(lexopt::Arg::Value(word)) => Ok(Some(word.string()?)),
        Some(other) => Err(other.unexpected()),
    }
}

#[cfg(feature = "standalone")]
fn needed_word(parser: &mut lexopt::Parser, name: &str) -> Result<String, lexopt::Error> {
    word_of(parser)?.ok_or_else(|| format!("{name} is missing").into())
}

/// lapin calls it an error of its own when a broker says that a queue does not exist. Whatever of that matters is said by
/// the queue, in its words.
const DEFAULT_FILTER: &str = "info,lapin=off";

/// Whatever `RUST_LOG` says: at lower levels than these, these libraries log whole requests and messages. The Lambda
/// runtime's span has the id of the request.
const NO_BODIES: [(&str, LevelFilter); 2] =
    [("lambda_runtime", LevelFilter::INFO), ("aws_smithy_runtime", LevelFilter::DEBUG)];

/// `LOG_FORMAT`, with the filter from `RUST_LOG`.
pub(crate) struct LogFormat {
    json: bool,
    filter: Targets,
}

impl LogFormat {
    pub(crate) fn from_env(env: &mut Env) -> LogFormat {
        let on_a_platform = Host::detect(env) != Host::Standalone;
        let json = env.parsed("LOG_FORMAT", on_a_platform, |text| match text {
            "json" => Ok(true),
            "text" => Ok(false),
            _ => Err(format!("'{text}' is neither text nor json")),
        });
        // Targets and levels are all that there is to filter by; EnvFilter would bring regular expressions along.
        let filter = |text: &str| {
            text.parse::<Targets>().map_err(|_| format!("'{text}' is not a log filter, like info or warn,lapin=error"))
        };
        let default = filter(DEFAULT_FILTER).unwrap_or_default();
        let filter = env.parsed("RUST_LOG", default, filter);
        LogFormat { json, filter }
    }

    /// From here on everything is logged to stderr.
    pub(crate) fn start(self) {
        let no_bodies = Targets::new().with_default(LevelFilter::TRACE).with_targets(NO_BODIES);
        let logs = tracing_subscriber::registry().with(self.filter).with(no_bodies);
        let lines = fmt::layer().with_writer(io::stderr).with_target(false);
        if self.json {
            logs.with(lines.json().flatten_event(true)).init()
        } else {
            logs.with(lines.with_ansi(false)).init()
        }
    }
}
