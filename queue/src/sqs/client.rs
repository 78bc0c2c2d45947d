//! One queue, as the SDK reaches it, and what its failures mean.

use std::error::Error;
use std::time::Duration;

use aws_sdk_sqs::Client as Sdk;
#[cfg(feature = "aws_config")]
use aws_sdk_sqs::config::IdentityCache;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Builder, Config, Credentials, Region, StalledStreamProtectionConfig};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::address::Address;
#[cfg(feature = "aws_config")]
use super::standard_chain::StandardChain;
use super::transport::Transport;
use crate::config::QueueConfig;
use crate::credentials::{self, AwsCredentials};
use crate::env::{ConfigError, Problem};
use crate::publish::PublishError;

/// A request is sent at most so often, all within its deadline.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// An attempt is given up for another one after half of the time that is left, but not sooner than this: SQS may take
/// its time, and what it is slow to answer it has usually done.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

/// One queue. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) sdk: Sdk,
    pub(super) address: Address,
}

impl Client {
    /// Connects nowhere yet: only the standard chain begins to ask for credentials.
    pub(super) fn new(config: &QueueConfig, url: &str) -> Result<Client, ConfigError> {
        let unusable =
            |message: String| ConfigError { problems: vec![Problem { variable: "QUEUE_URL".to_owned(), message }] };
        let address = Address::parse(url).map_err(unusable)?;
        let credentials = config.aws_credentials.as_ref().ok_or_else(credentials::missing)?;
        let transport = Transport::new(&address.endpoint).map_err(|error| unusable(error.to_string()))?;
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(FIRST_PAUSE)
            .with_max_backoff(LONGEST_PAUSE);
        let sdk = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&address.endpoint)
            .region(Region::new(address.region.clone()))
            .http_client(transport)
            .retry_config(retries)
            // The deadline of each request is stricter.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let sdk = match credentials {
            AwsCredentials::Keys { access_key_id, secret_access_key, session_token } => {
                let token = session_token.as_ref().map(|token| token.expose_secret().to_owned());
                let secret = secret_access_key.expose_secret();
                sdk.credentials_provider(Credentials::new(access_key_id, secret, token, None, "environment"))
            }
            // It has them at hand. The SDK's cache would drop those that are still good before it asks for others.
            #[cfg(feature = "aws_config")]
            AwsCredentials::StandardChain => sdk
                .credentials_provider(StandardChain::start(&address.region))
                .identity_cache(IdentityCache::no_cache()),
        };
        Ok(Client { sdk: Sdk::from_conf(sdk.build()), address })
    }

    /// The same, for another queue of the same account.
    pub(super) fn with(&self, address: Address) -> Client {
        Client { sdk: self.sdk.clone(), address }
    }

    /// The settings of a request that must be through at `deadline`.
    pub(super) fn until(deadline: Instant) -> Builder {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(left)
            .operation_attempt_timeout((left / 2).max(SHORTEST_ATTEMPT).min(left))
            .build();
        Config::builder().timeout_config(timeouts)
    }
}

/// What a request that was not confirmed means for its event.
pub(super) fn explain<E>(error: SdkError<E, HttpResponse>) -> PublishError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let SdkError::ServiceError(answer) = &error else {
        let late = match &error {
            SdkError::TimeoutError(_) => true,
            SdkError::DispatchFailure(failure) => failure.is_timeout(),
            _ => false,
        };
        return if late { PublishError::TimedOut } else { PublishError::Unreachable(error.into()) };
    };
    let is_its_own_fault = answer.raw().status().is_server_error();
    told(error.code().unwrap_or("no reason given"), error.message(), is_its_own_fault)
}

/// What SQS's word means for an event that it has not stored. It may have, if the fault is its own.
pub(super) fn told(code: &str, message: Option<&str>, is_its_own_fault: bool) -> PublishError {
    let said = format!("{code}: {}", message.unwrap_or_default());
    match code.rsplit('.').next().unwrap_or(code) {
        "QueueDoesNotExist" | "NonExistentQueue" | "QueueDeletedRecently" => PublishError::Unroutable(said),
        _ if is_its_own_fault => PublishError::Unreachable(said.into()),
        _ if code.starts_with("KMS.") => PublishError::Blocked(said),
        word if concerns_everybody(word) => PublishError::Blocked(said),
        _ => PublishError::Refused(said),
    }
}

/// Whether SQS would say this of any other event as well: there are too many at the moment, or something is wrong with our
/// credentials, our clock, or the key that encrypts the queue.
fn concerns_everybody(word: &str) -> bool {
    let word = word.strip_suffix("Exception").unwrap_or(word);
    let is_about_whoever_asks = matches!(
        word,
        "AccessDenied"
            | "AuthFailure"
            | "ExpiredToken"
            | "IncompleteSignature"
            | "InvalidAccessKeyId"
            | "InvalidAddress"
            | "InvalidClientTokenId"
            | "InvalidSecurity"
            | "InvalidSignature"
            | "MissingAuthenticationToken"
            | "NotAuthorized"
            | "OptInRequired"
            | "RequestExpired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClient"
    );
    is_about_whoever_asks || word.contains("Throttl") || word == "OverLimit" || word.starts_with("Kms")
}
