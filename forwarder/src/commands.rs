//! What an operator asks. A function, which nobody can ask, is built without it.

use webhook_forwarder::{ConfigError, Env, tenant_url};
use webhook_queue::Problem;

use crate::cli::TenantUrl;
use crate::{Failure, print, queue_only};

pub(crate) async fn setup(env: Env) -> Result<(), Failure> {
    let queue = queue_only(env)?;
    let done = webhook_queue::setup(&queue).await.map_err(Failure::Work)?;
    print(&done.join("\n")).map_err(Failure::Work)
}

pub(crate) async fn check(env: Env) -> Result<(), Failure> {
    let queue = queue_only(env)?;
    let report = webhook_queue::check(&queue).await;
    print(report.to_string().trim_end()).map_err(Failure::Work)?;
    if report.passed() { Ok(()) } else { Err(Failure::CheckFailed) }
}

pub(crate) async fn drain(env: Env) -> Result<(), Failure> {
    let queue = queue_only(env)?;
    if queue.fallbacks.is_empty() {
        let message = "is not set: there is nothing to drain".to_owned();
        let problems = vec![Problem { variable: "QUEUE_FALLBACK_URLS".to_owned(), message }];
        return Err(ConfigError { problems }.into());
    }
    let drained = webhook_queue::drain(&queue).await.map_err(|error| Failure::Work(error.into()))?;
    print(&drained.lines.join("\n")).map_err(Failure::Work)
}

/// The one place where a key is printed.
pub(crate) fn url(env: Env, wanted: &TenantUrl) -> Result<(), Failure> {
    let TenantUrl { base, source, tenant, event_type } = wanted;
    let url = tenant_url(env, base, source, tenant, event_type.as_deref())?;
    print(&url).map_err(Failure::Work)
}
