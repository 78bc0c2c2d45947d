//! Where the program runs, and what it is not told there.

use webhook_queue::Env;

/// Set by AWS Lambda: where its events are fetched.
const LAMBDA: &str = "AWS_LAMBDA_RUNTIME_API";
/// Set by the Azure Functions host: the port on which it expects a custom handler.
pub(crate) const AZURE_PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";
/// What only a server of its own has a use for.
const STANDALONE_ONLY: [&str; 2] = ["LISTEN", "TRUSTED_PROXIES"];

/// Who hands requests to the forwarder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Host {
    /// Its own server.
    Standalone,
    /// AWS Lambda, behind a Function URL, API Gateway or a load balancer.
    Lambda,
    /// The Azure Functions host, to which it is a custom handler.
    Azure,
}

impl Host {
    /// The platforms say themselves that the program runs on them.
    pub fn detect(env: &Env) -> Host {
        if env.is_set(LAMBDA) {
            Host::Lambda
        } else if env.is_set(AZURE_PORT) {
            Host::Azure
        } else {
            Host::Standalone
        }
    }

    /// Notes what is set and has no effect here. `PORT` is not among it: platforms set it by themselves.
    pub(crate) fn refuse_useless(self, env: &mut Env) {
        let platform = match self {
            Host::Standalone => return,
            Host::Lambda => "AWS Lambda",
            Host::Azure => "Azure Functions",
        };
        for name in STANDALONE_ONLY {
            if env.is_set(name) {
                env.problem(name, format!("has no effect on {platform}, which takes the requests itself; remove it"));
            }
        }
    }
}
