//! The functions that the program is on Lambda, by the handler that it is configured with: one receives webhooks, the other
//! moves messages of SQS. Either may have to wait for its secrets.

use webhook_forwarder::{Env, ForwarderConfig, Secrets, serve_lambda, serve_lambda_with};

use crate::cli::LogFormat;
use crate::{Failure, open};

/// Set by Lambda: the handler that the function is configured with.
const HANDLER: &str = "_HANDLER";
/// The handler that moves messages of SQS. Any other receives webhooks.
const DRAIN_HANDLER: &str = "drain";

pub(crate) async fn run(mut env: Env) -> Result<(), Failure> {
    let drains = env.text(HANDLER).as_deref() == Some(DRAIN_HANDLER);
    if drains { drain(env).await } else { receive(env).await }
}

async fn receive(mut env: Env) -> Result<(), Failure> {
    let format = LogFormat::from_env(&mut env);
    let served = match Secrets::from_process() {
        None => {
            let config = ForwarderConfig::with_env(env)?;
            format.start();
            let publisher = open(&config)?;
            serve_lambda(config, publisher).await
        }
        Some(secrets) => {
            env.finish()?;
            format.start();
            let configured = |env| {
                let config = ForwarderConfig::with_env(env)?;
                open(&config).map(|publisher| (config, publisher))
            };
            serve_lambda_with(secrets, configured).await
        }
    };
    served.map_err(Failure::Work)
}

#[cfg(feature = "sqs")]
async fn drain(mut env: Env) -> Result<(), Failure> {
    let served = match Secrets::from_process() {
        None => webhook_forwarder::serve_drain(&crate::queue_only(env)?).await,
        Some(secrets) => {
            let format = LogFormat::from_env(&mut env);
            env.finish()?;
            format.start();
            webhook_forwarder::serve_drain_with(secrets, ForwarderConfig::queue_with_env).await
        }
    };
    served.map_err(Failure::Work)
}

#[cfg(not(feature = "sqs"))]
async fn drain(_: Env) -> Result<(), Failure> {
    Err(Failure::Work("draining is not part of this program: build it with the cargo feature 'sqs'".into()))
}
