//! The `webhook-forwarder` program.

mod cli;
#[cfg(feature = "standalone")]
mod commands;
#[cfg(feature = "lambda")]
mod functions;

use std::io::{self, Write};
use std::process::ExitCode;

use webhook_forwarder::{ConfigError, Env, ForwarderConfig, Host, Publish, Publisher, chain};
use webhook_queue::BoxError;

use crate::cli::Command;

/// The command did its work and the news is bad.
const FAILED: u8 = 1;
/// The command could not begin: its arguments or the environment are wrong.
const UNUSABLE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let result = match cli::parse() {
        Err(error) => Err(Failure::Usage(error)),
        Ok(Command::Help) => print(cli::HELP).map_err(Failure::Work),
        Ok(Command::Version) => print(concat!("webhook-forwarder ", env!("CARGO_PKG_VERSION"))).map_err(Failure::Work),
        Ok(Command::Serve) => run(Env::from_process()).await,
        #[cfg(feature = "standalone")]
        Ok(Command::Setup) => commands::setup(Env::from_process()).await,
        #[cfg(feature = "standalone")]
        Ok(Command::Check) => commands::check(Env::from_process()).await,
        #[cfg(feature = "standalone")]
        Ok(Command::Drain) => commands::drain(Env::from_process()).await,
        #[cfg(feature = "standalone")]
        Ok(Command::Url(wanted)) => commands::url(Env::from_process(), &wanted),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Why the program ends with an error.
enum Failure {
    Usage(lexopt::Error),
    Config(ConfigError),
    Work(BoxError),
    /// Already printed.
    #[cfg(feature = "standalone")]
    CheckFailed,
}

impl Failure {
    fn report(self) -> ExitCode {
        let mut stderr = io::stderr().lock();
        let (code, lines) = match self {
            Failure::Usage(error) => (UNUSABLE, vec![format!("{error}; see webhook-forwarder --help")]),
            Failure::Config(error) => (UNUSABLE, error.problems.iter().map(ToString::to_string).collect()),
            Failure::Work(error) => (FAILED, vec![chain(&*error)]),
            #[cfg(feature = "standalone")]
            Failure::CheckFailed => return ExitCode::from(FAILED),
        };
        for line in lines {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(stderr, "webhook-forwarder: {line}");
        }
        ExitCode::from(code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Config(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Work(error.into())
    }
}

async fn run(env: Env) -> Result<(), Failure> {
    match Host::detect(&env) {
        #[cfg(feature = "lambda")]
        Host::Lambda => functions::run(env).await,
        #[cfg(feature = "standalone")]
        Host::Standalone | Host::Azure => serve(env).await,
        #[allow(unreachable_patterns, reason = "which arm is missing depends on the features")]
        host => {
            Err(Failure::Work(format!("{host:?} is not part of this program: build it with its cargo feature").into()))
        }
    }
}

/// Opens the queues, and tells where events go, and what is too large to go there.
fn open(config: &ForwarderConfig) -> Result<Publisher, ConfigError> {
    let publisher = Publisher::open(&config.queue)?;
    let max_body_bytes = config.max_body_bytes;
    let limits = publisher.limits();
    let most = publisher.max_body_bytes();
    for (place, (name, carried)) in limits.iter().enumerate() {
        let otherwise = if place > 0 { ", what the queues before it do not take" } else { "" };
        tracing::info!(queue = name, "publishing to {name}{otherwise}");
        if *carried < max_body_bytes {
            let then = if *carried < most { "go to the others only" } else { "are answered 413" };
            tracing::warn!(
                queue = name,
                "{name} carries bodies of at most {carried} bytes, less than MAX_BODY_BYTES ({max_body_bytes}): longer \
                 ones {then}"
            );
        }
    }
    Ok(publisher)
}

#[cfg(feature = "standalone")]
async fn serve(mut env: Env) -> Result<(), Failure> {
    let format = cli::LogFormat::from_env(&mut env);
    let config = ForwarderConfig::with_env(env)?;
    format.start();
    let publisher = open(&config)?;
    let listener = webhook_forwarder::listen(config.listen)
        .map_err(|error| Failure::Work(format!("LISTEN: cannot listen on {}: {error}", config.listen).into()))?;
    let shutdown = webhook_forwarder::shutdown_signal()?;
    #[cfg(feature = "sqlite")]
    let (drainer, shutdown) = drain_until(shutdown, config.queue.clone(), publisher.clone());
    webhook_forwarder::serve(config, publisher, listener, shutdown).await?;
    #[cfg(feature = "sqlite")]
    drainer.await.map_err(|error| Failure::Work(error.into()))?;
    tracing::info!("stopped");
    Ok(())
}

/// Moves what the SQLite fallbacks hold beside all else, until the shutdown begins.
#[cfg(all(feature = "standalone", feature = "sqlite"))]
fn drain_until(
    shutdown: impl Future<Output = ()>,
    queue: webhook_forwarder::QueueConfig,
    publisher: Publisher,
) -> (tokio::task::JoinHandle<()>, impl Future<Output = ()>) {
    let stop = tokio_util::sync::CancellationToken::new();
    let stopped = stop.clone();
    let drainer = tokio::spawn(async move { webhook_queue::keep_draining(&queue, &publisher, &stopped).await });
    let shutdown = async move {
        shutdown.await;
        stop.cancel();
    };
    (drainer, shutdown)
}

#[cfg(any(feature = "standalone", feature = "sqs"))]
fn queue_only(mut env: Env) -> Result<webhook_forwarder::QueueConfig, Failure> {
    let format = cli::LogFormat::from_env(&mut env);
    let queue = ForwarderConfig::queue_with_env(env)?;
    format.start();
    Ok(queue)
}

fn print(text: &str) -> Result<(), BoxError> {
    Ok(writeln!(io::stdout(), "{text}")?)
}
