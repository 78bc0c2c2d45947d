//! `AWS_*`: who asks, where a queue is Amazon's.

use secrecy::SecretString;

use crate::env::Env;
#[cfg(feature = "sqs")]
use crate::env::{ConfigError, Problem};

const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// Whose word it is that an SQS queue is given.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AwsCredentials {
    /// Those that AWS Lambda puts into the environment of a function. They are good for as long as that environment
    /// lives.
    Keys {
        /// `AWS_ACCESS_KEY_ID`
        access_key_id: String,
        /// `AWS_SECRET_ACCESS_KEY`
        secret_access_key: SecretString,
        /// `AWS_SESSION_TOKEN`: with temporary ones.
        session_token: Option<SecretString>,
    },
    /// Whatever AWS's standard chain finds, renewed before it expires. The chain reads the environment of the process,
    /// and needs a Tokio runtime from the moment in which a queue is opened.
    #[cfg(feature = "aws_config")]
    StandardChain,
}

impl AwsCredentials {
    /// Reads them. What is missing is noted in `env`.
    pub(crate) fn from_env(env: &mut Env) -> Option<AwsCredentials> {
        let access_key_id = env.text(ACCESS_KEY_ID);
        let secret_access_key = env.text(SECRET_ACCESS_KEY);
        let session_token = env.text(SESSION_TOKEN).map(SecretString::from);
        #[cfg(feature = "aws_config")]
        if access_key_id.is_none() && secret_access_key.is_none() {
            return Some(AwsCredentials::StandardChain);
        }
        for (name, value) in [(ACCESS_KEY_ID, &access_key_id), (SECRET_ACCESS_KEY, &secret_access_key)] {
            if value.is_none() {
                env.problem(name, MISSING);
            }
        }
        Some(AwsCredentials::Keys {
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?.into(),
            session_token,
        })
    }
}

const MISSING: &str = "is not set: an SQS queue needs credentials; AWS Lambda sets them, elsewhere set \
                       AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither with feature aws_config";

/// For a configuration that was made by hand without them.
#[cfg(feature = "sqs")]
pub(crate) fn missing() -> ConfigError {
    ConfigError { problems: vec![Problem { variable: ACCESS_KEY_ID.to_owned(), message: MISSING.to_owned() }] }
}
