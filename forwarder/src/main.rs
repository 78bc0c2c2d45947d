//! The `webhook-forwarder` program.

mod cli;

use std::io::{self, Write};
use std::process::ExitCode;

use webhook_forwarder::{
    ConfigError, Env, ForwarderConfig, Publish, Publisher, QueueConfig, chain, listen, serve, shutdown_signal,
};
use webhook_queue::BoxError;

use crate::cli::{Command, LogFormat};

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
        Ok(Command::Setup) => setup(Env::from_process()).await,
        Ok(Command::Check) => check(Env::from_process()).await,
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
    CheckFailed,
}

impl Failure {
    fn report(self) -> ExitCode {
        let mut stderr = io::stderr().lock();
        let (code, lines) = match self {
            Failure::Usage(error) => (UNUSABLE, vec![format!("{error}; see webhook-forwarder --help")]),
            Failure::Config(error) => (UNUSABLE, error.problems.iter().map(ToString::to_string).collect()),
            Failure::Work(error) => (FAILED, vec![chain(&*error)]),
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

async fn run(mut env: Env) -> Result<(), Failure> {
    let format = LogFormat::from_env(&mut env);
    let config = ForwarderConfig::with_env(env)?;
    format.start();

    let publisher = Publisher::open(&config.queue)?;
    let listener = listen(config.listen)
        .map_err(|error| Failure::Work(format!("LISTEN: cannot listen on {}: {error}", config.listen).into()))?;
    let name = config.queue.url.redacted();
    tracing::info!(queue = name, "publishing to {name}");
    let carried = publisher.max_body_bytes();
    if carried < config.max_body_bytes {
        tracing::warn!(
            queue = name,
            "{name} carries bodies of at most {carried} bytes, less than MAX_BODY_BYTES ({}): longer ones are \
             answered 413",
            config.max_body_bytes
        );
    }
    serve(config, publisher, listener, shutdown_signal()?).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn setup(env: Env) -> Result<(), Failure> {
    let queue = queue_only(env)?;
    let done = webhook_queue::setup(&queue).await.map_err(Failure::Work)?;
    print(&done.join("\n")).map_err(Failure::Work)
}

async fn check(env: Env) -> Result<(), Failure> {
    let queue = queue_only(env)?;
    let report = webhook_queue::check(&queue).await;
    print(report.to_string().trim_end()).map_err(Failure::Work)?;
    if report.passed() { Ok(()) } else { Err(Failure::CheckFailed) }
}

fn queue_only(mut env: Env) -> Result<QueueConfig, Failure> {
    let format = LogFormat::from_env(&mut env);
    let queue = ForwarderConfig::queue_with_env(env)?;
    format.start();
    Ok(queue)
}

fn print(text: &str) -> Result<(), BoxError> {
    Ok(writeln!(io::stdout(), "{text}")?)
}
