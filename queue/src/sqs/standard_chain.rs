//! Credentials from AWS's standard chain, loaded and renewed by a task: no request pays for that, and none is lost by a
//! renewal that fails while what was loaded before is still good.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_sdk_sqs::config::{Credentials, ProvideCredentials, Region};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::anywhere::Anywhere;
use crate::chain;

/// How long the whole chain may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nobody is asked after nobody had any.
const PAUSE: Duration = Duration::from_secs(2);
/// How long before they expire credentials are renewed. Where less than twice that is left, it is when half of it is.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// Between two renewals.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// Those that say nothing of an end are from a file, which somebody may write anew.
const REREAD: Duration = Duration::from_secs(60);

/// The credentials of one queue. The task ends with this value.
pub(super) struct StandardChain {
    state: Arc<watch::Sender<State>>,
    _task: AbortOnDropHandle<()>,
}

enum State {
    /// Whoever needs them waits.
    Loading,
    Loaded(Credentials),
    Failed(String),
}

impl StandardChain {
    /// Starts the task. `region` is where roles are assumed, unless the environment or the profile says otherwise.
    pub(super) fn start(region: &str) -> StandardChain {
        let state = Arc::new(watch::Sender::new(State::Loading));
        let task = tokio::spawn(keep(Arc::clone(&state), Region::new(region.to_owned())));
        StandardChain { state, _task: AbortOnDropHandle::new(task) }
    }

    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut shown = self.state.subscribe();
        loop {
            match &*shown.borrow_and_update() {
                State::Loaded(credentials) if is_good(credentials) => return Ok(credentials.clone()),
                State::Failed(reason) => return Err(CredentialsError::provider_error(reason.clone())),
                State::Loaded(_) | State::Loading => {}
            }
            // Nobody woke in time to renew them: the machine slept, or its clock was set.
            self.state.send_if_modified(|state| {
                let has_expired = matches!(state, State::Loaded(credentials) if !is_good(credentials));
                if has_expired {
                    *state = State::Loading;
                }
                has_expired
            });
            // The sender is this value's own, so this is no error.
            let _ = shown.changed().await;
        }
    }
}

async fn keep(state: Arc<watch::Sender<State>>, region: Region) {
    let mut shown = state.subscribe();
    loop {
        match load(region.clone()).await {
            Ok(credentials) => _ = state.send_replace(State::Loaded(credentials)),
            Err(reason) => failed(&state, reason),
        }
        let pause = match &*shown.borrow_and_update() {
            State::Loaded(credentials) => until_renewal(credentials),
            State::Loading | State::Failed(_) => PAUSE,
        };
        tokio::select! {
            () = sleep(pause) => {}
            _ = shown.wait_for(|state| matches!(state, State::Loading)) => {}
        }
    }
}

/// What there is from before stays, while it is good.
fn failed(state: &watch::Sender<State>, reason: String) {
    state.send_modify(|state| match state {
        State::Loaded(credentials) if is_good(credentials) => {
            tracing::warn!("AWS credentials cannot be renewed; those from before are good for now: {reason}");
        }
        State::Failed(before) if *before == reason => {}
        state => {
            tracing::warn!("no AWS credentials: {reason}");
            *state = State::Failed(reason);
        }
    });
}

/// Everything is read again each time: somebody may have written the profiles anew.
async fn load(region: Region) -> Result<Credentials, String> {
    let config = ProviderConfig::without_region().with_http_client(Anywhere);
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::builder().configure(&config).build())
        .or_else(region);
    let loading = async {
        DefaultCredentialsChain::builder().configure(config).region(region).build().await.provide_credentials().await
    };
    // With an answer that it cannot read, the SDK would log what is in it.
    match timeout(LOAD_TIMEOUT, loading.with_subscriber(NoSubscriber::default())).await {
        Ok(Ok(credentials)) if is_good(&credentials) => Ok(credentials),
        Ok(Ok(_)) => Err("those that were found have expired".to_owned()),
        Ok(Err(error)) => Err(on_one_line(&error)),
        Err(_) => Err(format!("none were found within {LOAD_TIMEOUT:?}")),
    }
}

/// The chain tells of each of its members on a line of its own.
fn on_one_line(error: &CredentialsError) -> String {
    let reason = error.source().map_or_else(|| error.to_string(), chain);
    reason.replace(":\n  ", ": ").replace("\n  ", "; ")
}

fn left(credentials: &Credentials) -> Option<Duration> {
    let expiry = credentials.expiry()?;
    Some(expiry.duration_since(SystemTime::now()).unwrap_or_default())
}

fn is_good(credentials: &Credentials) -> bool {
    left(credentials).is_none_or(|left| !left.is_zero())
}

fn until_renewal(credentials: &Credentials) -> Duration {
    let Some(left) = left(credentials) else { return REREAD };
    left.saturating_sub(EARLY).max(left / 2).max(SHORTEST_PAUSE)
}

impl ProvideCredentials for StandardChain {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(self.credentials())
    }
}

impl fmt::Debug for StandardChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardChain").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good_for(left: Duration) -> Credentials {
        Credentials::new("id", "s3cret", None, Some(SystemTime::now() + left), "test")
    }

    #[test]
    fn there_is_time_for_a_second_renewal() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let about = |left| until_renewal(&good_for(left)).as_secs_f64().round();
        assert_eq!([minutes(60), minutes(8)].map(about), [minutes(55), minutes(4)].map(|wait| wait.as_secs_f64()));
        assert_eq!(until_renewal(&good_for(Duration::ZERO)), SHORTEST_PAUSE);
        assert_eq!(until_renewal(&Credentials::new("id", "s3cret", None, None, "test")), REREAD);
    }

    #[tokio::test]
    async fn whoever_finds_them_expired_has_them_renewed_and_waits() {
        let state = Arc::new(watch::Sender::new(State::Loaded(good_for(Duration::ZERO))));
        let (mut shown, renewed) = (state.subscribe(), Arc::clone(&state));
        let task = tokio::spawn(async move {
            shown.wait_for(|state| matches!(state, State::Loading)).await.map(drop).unwrap();
            renewed.send_replace(State::Loaded(good_for(REREAD)));
        });
        let chain = StandardChain { state, _task: AbortOnDropHandle::new(task) };
        assert!(is_good(&chain.credentials().await.unwrap()));
    }
}
