//! The Lambda host: fetches events from the runtime API, each of which is an HTTP request that a Function URL, API Gateway
//! or a load balancer has put into JSON, and answers them the same way.
//!
//! The events are read here and not by `lambda_http`: that normalises paths, and what is no URL, no header or no base64 makes
//! it panic or give up, which fails the invocation instead of answering the request.

#[cfg(feature = "sqs")]
mod drain;
mod event;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod pairs;
mod response;
mod secrets;
mod target;

use std::future::{Future, ready};
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use lambda_runtime::{Diagnostic, LambdaEvent, run_concurrent, service_fn};
use serde_json::Value;
use serde_json::value::RawValue;
use tower::ServiceExt;
use webhook_queue::{BoxError, ConfigError, Env, Publish};

use crate::answer::Refusal;
use crate::config::ForwarderConfig;
use crate::panics;
use crate::service::Forwarder;
#[cfg(feature = "sqs")]
pub use drain::{serve_drain, serve_drain_with};
use event::{HttpEvent, NotHttp, Unreadable};
use secrets::Later;
pub use secrets::Secrets;

/// Serves until Lambda ends the process: `AWS_LAMBDA_MAX_CONCURRENCY` events at a time where that is set, else one.
///
/// Every HTTP request is answered. Only an event that is none fails its invocation.
///
/// # Errors
/// When the runtime API cannot be reached.
///
/// # Panics
/// Outside of Lambda, where the variables that it sets are missing.
pub async fn serve_lambda<P>(config: ForwarderConfig, publisher: P) -> Result<(), BoxError>
where
    P: Publish + 'static,
{
    let forwarder = start(&config, publisher);
    run_concurrent(service_fn(move |event| invoke(ready(Ok(forwarder.clone())), event))).await
}

/// As [`serve_lambda`], where the environment names secrets: they can be read as soon as there is a first event, which
/// waits for them. `open` makes of the environment that has them what [`serve_lambda`] wants.
///
/// While the secrets cannot be read, or `open` fails, every request is answered 503, and the next one tries again.
///
/// # Errors
/// When the runtime API cannot be reached.
///
/// # Panics
/// Outside of Lambda, where the variables that it sets are missing.
pub async fn serve_lambda_with<P, O>(secrets: Secrets, open: O) -> Result<(), BoxError>
where
    P: Publish + 'static,
    O: Fn(Env) -> Result<(ForwarderConfig, P), ConfigError> + Send + Sync + 'static,
{
    let later = Arc::new(Later::new(secrets, move |env| {
        let (config, publisher) = open(env)?;
        Ok(start(&config, publisher))
    }));
    run_concurrent(service_fn(move |event| {
        let later = later.clone();
        let unconfigured = |_| Refusal::Failed("it is not configured; its log says why");
        invoke(async move { later.get().await.map_err(unconfigured) }, event)
    }))
    .await
}

fn start<P: Publish>(config: &ForwarderConfig, publisher: P) -> Forwarder<P> {
    config.log_sources();
    Forwarder::new(config, publisher)
}

async fn invoke<P>(
    forwarder: impl Future<Output = Result<Forwarder<P>, Refusal>>,
    event: LambdaEvent<Box<RawValue>>,
) -> Result<Value, NotHttp>
where
    P: Publish + 'static,
{
    let event = HttpEvent::read(event.payload.get())?;
    let origin = event.origin;
    Ok(response::write(origin, panics::answered(answer(forwarder, event)).await).await)
}

async fn answer<P>(
    forwarder: impl Future<Output = Result<Forwarder<P>, Refusal>>,
    event: HttpEvent,
) -> Response<Full<Bytes>>
where
    P: Publish + 'static,
{
    let request = event.into_request().map_err(Unreadable::refusal);
    let refusal = match request {
        Err(refusal) => refusal,
        Ok(request) => match forwarder.await {
            Ok(forwarder) => return forwarder.oneshot(request).await.unwrap_or_else(|never| match never {}),
            Err(refusal) => refusal,
        },
    };
    refusal.log_before_routing();
    refusal.response()
}

impl From<NotHttp> for Diagnostic {
    fn from(error: NotHttp) -> Diagnostic {
        Diagnostic { error_type: "NotHttp".to_owned(), error_message: error.to_string() }
    }
}
