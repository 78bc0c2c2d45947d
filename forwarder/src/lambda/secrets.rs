//! Secrets that a variable only names: `<NAME>_PARAMETER` in the Parameter Store, `<NAME>_SECRET_ID` in Secrets Manager.
//!
//! They are read through the AWS Parameters and Secrets Lambda Extension, a layer that answers HTTP requests in the same
//! execution environment. It knows no answer before the first event, so that they cannot be read when the program starts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use webhook_queue::{BoxError, ConfigError, Env, Problem, chain};

/// Which variables may be named instead of set: those that can hold a secret.
const PREFIXES: [&str; 3] = ["QUEUE_", "SOURCE_", "Amqp"];
const PARAMETER: &str = "_PARAMETER";
const SECRET_ID: &str = "_SECRET_ID";

const PORT: &str = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT";
const DEFAULT_PORT: u16 = 2773;
/// The extension gives secrets only to who knows this, the function itself.
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// For all secrets together. The webhook that waits for them must still be answered in time.
const DEADLINE: Duration = Duration::from_secs(1);
/// Until the extension, which starts beside the function, is asked again.
const PAUSE: Duration = Duration::from_millis(20);
/// More than either store holds in one value, with everything that JSON may add.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// In the query, a name's path and an ARN's colons as Amazon's documentation writes them.
const IN_A_NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');
const IN_A_SECRET_ID: &AsciiSet = &IN_A_NAME.remove(b'/');

/// The environment of a function some of whose variables only name their values.
#[derive(Clone)]
pub struct Secrets {
    variables: BTreeMap<String, String>,
    named: Vec<Named>,
}

/// One variable whose value is kept elsewhere.
#[derive(Clone, Debug)]
struct Named {
    /// The variable that the value is for.
    variable: String,
    /// The variable that names it.
    by: String,
    store: Store,
    /// Its name there.
    name: String,
}

#[derive(Clone, Copy, Debug)]
enum Store {
    Parameters,
    Secrets,
}

impl Secrets {
    /// The secrets that the environment of this process names, or `None` where it names none.
    pub fn from_process() -> Option<Secrets> {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Secrets::from_pairs(std::env::vars_os().filter_map(utf8))
    }

    /// As [`Secrets::from_process`], from an environment made by hand.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Option<Secrets> {
        let (named, variables): (BTreeMap<_, _>, BTreeMap<_, _>) =
            pairs.into_iter().partition(|(name, value)| stored_in(name).is_some() && !value.is_empty());
        let named: Vec<Named> = named
            .into_iter()
            .filter_map(|(by, name)| {
                let (variable, store) = stored_in(&by)?;
                Some(Named { variable: variable.to_owned(), store, name, by })
            })
            .collect();
        (!named.is_empty()).then_some(Secrets { variables, named })
    }

    /// The whole environment, each named secret under the variable that it is for.
    ///
    /// # Errors
    /// If a secret cannot be read, or not within a second. The error names the variable, and what it names.
    pub async fn read(&self) -> Result<Env, ConfigError> {
        let deadline = Instant::now() + DEADLINE;
        let mut reading = JoinSet::new();
        for named in self.named.clone() {
            let request = self.request(&named);
            reading.spawn(async move { named.value(request, deadline).await });
        }
        let mut variables = self.variables.clone();
        let mut problems = Vec::new();
        for read in reading.join_all().await {
            match read {
                Ok((variable, value)) if variables.get(&variable).is_none_or(String::is_empty) => {
                    variables.insert(variable, value);
                }
                Ok((variable, _)) => {
                    problems.push(Problem { variable, message: "is set, and also named: keep one of them".to_owned() })
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Env::from_pairs(variables)) } else { Err(ConfigError { problems }) }
    }

    /// What the extension is asked.
    fn request(&self, named: &Named) -> Asked {
        let variable = |name| self.variables.get(name).map(String::as_str).unwrap_or_default();
        let port = variable(PORT).parse().unwrap_or(DEFAULT_PORT);
        let path = match named.store {
            Store::Parameters => {
                let name = utf8_percent_encode(&named.name, IN_A_NAME);
                format!("/systemsmanager/parameters/get?name={name}&withDecryption=true")
            }
            Store::Secrets => {
                let name = utf8_percent_encode(&named.name, IN_A_SECRET_ID);
                format!("/secretsmanager/get?secretId={name}")
            }
        };
        Asked { port, path, token: variable(TOKEN).to_owned() }
    }
}

/// What is made of the environment once its secrets can be read: with the first event, which waits for it.
pub(super) struct Later<T, M> {
    secrets: Secrets,
    make: M,
    made: OnceCell<T>,
}

impl<T, M> Later<T, M>
where
    T: Clone,
    M: Fn(Env) -> Result<T, BoxError>,
{
    pub(super) fn new(secrets: Secrets, make: M) -> Later<T, M> {
        Later { secrets, make, made: OnceCell::new() }
    }

    /// The one that was made, or a new try. Why it failed is in the log.
    pub(super) async fn get(&self) -> Result<T, BoxError> {
        let make = async || (self.make)(self.secrets.read().await?);
        let made = self.made.get_or_try_init(make).await.cloned();
        made.inspect_err(|error| tracing::error!("not configured: {error}"))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("named", &self.named).finish_non_exhaustive()
    }
}

/// The variable that `by` names the value of, and where that is kept.
fn stored_in(by: &str) -> Option<(&str, Store)> {
    let (variable, store) = None
        .or(by.strip_suffix(PARAMETER).map(|variable| (variable, Store::Parameters)))
        .or(by.strip_suffix(SECRET_ID).map(|variable| (variable, Store::Secrets)))?;
    PREFIXES.iter().any(|prefix| variable.starts_with(prefix)).then_some((variable, store))
}

impl Named {
    async fn value(self, asked: Asked, deadline: Instant) -> Result<(String, String), Problem> {
        let (variable, by, name) = (self.variable, self.by, self.name);
        let problem = |reason: &str| Problem {
            message: format!(
                "'{name}' cannot be read: {reason}. The function needs the AWS Parameters and Secrets extension as a \
                 layer, and permission to read this"
            ),
            variable: by.clone(),
        };
        let answer = asked.answer(deadline).await.map_err(|error| problem(&chain(&*error)))?;
        let value = match self.store {
            Store::Parameters => &answer["Parameter"]["Value"],
            Store::Secrets => &answer["SecretString"],
        };
        match value.as_str() {
            Some(value) => Ok((variable, value.trim_end_matches(['\r', '\n']).to_owned())),
            None => Err(problem("it is not a text")),
        }
    }
}

/// One request to the extension.
struct Asked {
    port: u16,
    path: String,
    token: String,
}

impl Asked {
    /// The extension's answer. While it is starting it refuses connections, and then to answer.
    async fn answer(&self, deadline: Instant) -> Result<Value, BoxError> {
        let mut failure: BoxError = "the extension does not answer".into();
        loop {
            match timeout_at(deadline, self.ask()).await {
                Ok(Ok((StatusCode::OK, answer))) => return Ok(serde_json::from_slice(&answer)?),
                Ok(Ok((status, answer))) => {
                    let said = String::from_utf8_lossy(&answer);
                    failure = format!("the extension answers {status}: {}", said.trim()).into();
                    if !said.contains("not ready") {
                        return Err(failure);
                    }
                }
                Ok(Err(error)) => failure = error,
                Err(_) => return Err(failure),
            }
            if timeout_at(deadline, sleep(PAUSE)).await.is_err() {
                return Err(failure);
            }
        }
    }

    async fn ask(&self) -> Result<(StatusCode, Bytes), BoxError> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get(&self.path)
            .header("host", format!("localhost:{}", self.port))
            .header("x-aws-parameters-secrets-token", &self.token)
            .body(Empty::<Bytes>::new())?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let answer = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
        connection.abort();
        Ok((head.status, answer))
    }
}

#[cfg(test)]
mod tests {
    use testbed::SecretsExtension;
    use tokio::net::TcpListener;

    use super::*;

    fn named(extension: &SecretsExtension, pairs: &[(&str, &str)]) -> Secrets {
        let pairs = pairs.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let pairs = extension.variables().into_iter().chain(pairs);
        Secrets::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value))).unwrap()
    }

    #[tokio::test]
    async fn named_secrets_stand_where_their_values_would() {
        let extension = SecretsExtension::start().await;
        extension.put_parameter("/hooks/queue", "amqps://u:p@host/v\n");
        extension.put_secret("arn:aws:secretsmanager:eu-north-1:1:secret:hooks/key-a1b2c3", "s3cret");
        extension.not_ready_for(3);
        let secrets = named(
            &extension,
            &[
                ("QUEUE_URL_PARAMETER", "/hooks/queue"),
                ("SOURCE_SHOP_ACCESS_KEY_SECRET_ID", "arn:aws:secretsmanager:eu-north-1:1:secret:hooks/key-a1b2c3"),
                ("SOURCE_SHOP_SIGNING_SECRET", "no name"),
                ("QUEUE_TTL", "1d"),
            ],
        );
        assert!(!format!("{secrets:?}").contains("no name"));
        let mut env = secrets.read().await.unwrap();
        let mut text = |name| env.text(name).unwrap_or_default();
        assert_eq!(text("QUEUE_URL"), "amqps://u:p@host/v");
        assert_eq!(text("SOURCE_SHOP_ACCESS_KEY"), "s3cret");
        assert_eq!((text("SOURCE_SHOP_SIGNING_SECRET"), text("QUEUE_TTL")), ("no name".into(), "1d".into()));
        assert_eq!(text("QUEUE_URL_PARAMETER"), "", "what only names is no variable of the forwarder");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named_with_its_variable() {
        let extension = SecretsExtension::start().await;
        extension.put_binary_secret("binary");
        let secrets = named(&extension, &[("QUEUE_URL_PARAMETER", "/nowhere"), ("QUEUE_NAME_SECRET_ID", "binary")]);
        let mut said: Vec<String> =
            secrets.read().await.unwrap_err().problems.iter().map(ToString::to_string).collect();
        said.sort();
        assert!(said[0].starts_with("QUEUE_NAME_SECRET_ID: 'binary' cannot be read: it is not a text."), "{said:?}");
        let unreadable = "QUEUE_URL_PARAMETER: '/nowhere' cannot be read: the extension answers 400 Bad Request: an un";
        assert!(said[1].starts_with(unreadable), "{said:?}");
    }

    #[tokio::test]
    async fn a_value_and_a_name_for_it_are_one_too_many() {
        let extension = SecretsExtension::start().await;
        extension.put_secret("url", "sqlite:x");
        let read = named(&extension, &[("QUEUE_URL_SECRET_ID", "url"), ("QUEUE_URL", "sqlite:y")]).read().await;
        assert_eq!(read.unwrap_err().to_string(), "QUEUE_URL: is set, and also named: keep one of them");
    }

    #[tokio::test(start_paused = true)]
    async fn an_extension_that_is_not_there_is_not_waited_for() {
        let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
        let pairs = [(PORT, unused.to_string()), ("QUEUE_URL_PARAMETER", "x".to_owned())];
        let secrets = Secrets::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value))).unwrap();
        let began = Instant::now();
        let error = secrets.read().await.unwrap_err().to_string();
        assert!(error.contains("QUEUE_URL_PARAMETER: 'x' cannot be read"), "{error}");
        assert!(began.elapsed() <= DEADLINE, "{:?}", began.elapsed());
    }

    #[test]
    fn an_environment_without_names_needs_no_extension() {
        let pairs = [("SOURCE_SHOP_SIGNING_SECRET", "x"), ("MY_OWN_PARAMETER", "y"), ("QUEUE_URL_PARAMETER", "")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!(Secrets::from_pairs(pairs).is_none());
    }
}
