//! `AWS_*`: who asks, where a queue is Amazon's.

use secrecy::SecretString;

use crate::env::Env;
#[cfg(feature = "sqs")]
use crate::env::{ConfigError, Problem};

const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// The credentials that AWS Lambda puts into the environment of a function. They are good for as long as that
/// environment lives.
#[derive(Clone, Debug)]
pub struct AwsCredentials {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: SecretString,
    /// `AWS_SESSION_TOKEN`: with temporary ones.
    pub session_token: Option<SecretString>,
}

impl AwsCredentials {
    /// Reads them. What is missing is noted in `env`.
    pub(crate) fn from_env(env: &mut Env) -> Option<AwsCredentials> {
        let access_key_id = env.text(ACCESS_KEY_ID);
        let secret_access_key = env.text(SECRET_ACCESS_KEY);
        let session_token = env.text(SESSION_TOKEN).map(SecretString::from);
        for (name, value) in [(ACCESS_KEY_ID, &access_key_id), (SECRET_ACCESS_KEY, &secret_access_key)] {
            if value.is_none() {
                env.problem(name, MISSING);
            }
        }
        Some(AwsCredentials {
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?.into(),
            session_token,
        })
    }
}

const MISSING: &str = "is not set: an SQS queue needs the credentials of a role or user that may use it; AWS \
                       Lambda sets them, elsewhere set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// For a configuration that was made by hand without them.
#[cfg(feature = "sqs")]
pub(crate) fn missing() -> ConfigError {
    ConfigError { problems: vec![Problem { variable: ACCESS_KEY_ID.to_owned(), message: MISSING.to_owned() }] }
}
