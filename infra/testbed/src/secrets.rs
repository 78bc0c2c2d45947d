//! AWS's Parameters and Secrets Lambda Extension, built from its documentation: a layer that answers HTTP requests beside
//! a function. Before the function's first event it refuses to.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// What the function shows to be let in: its own session token.
const TOKEN: &str = "session-token";

/// A stand-in for the extension, on a port of its own. It ends with this value.
#[derive(Debug)]
pub struct SecretsExtension {
    port: u16,
    stored: Arc<Mutex<Stored>>,
    server: AbortHandle,
}

#[derive(Debug, Default)]
struct Stored {
    /// By path, and then by name.
    answers: HashMap<(&'static str, String), Value>,
    not_ready_for: usize,
}

const PARAMETERS: &str = "/systemsmanager/parameters/get";
const SECRETS: &str = "/secretsmanager/get";

impl SecretsExtension {
    /// Starts one that holds nothing.
    pub async fn start() -> SecretsExtension {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let stored = Arc::<Mutex<Stored>>::default();
        let server = tokio::spawn(serve(listener, stored.clone())).abort_handle();
        SecretsExtension { port, stored, server }
    }

    /// What Lambda, and the extension's settings, put into a function's environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("AWS_SESSION_TOKEN", TOKEN.to_owned()), ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", self.port.to_string())]
    }

    /// Stores a parameter in the Parameter Store, encrypted.
    pub fn put_parameter(&self, name: &str, value: &str) {
        let answer = json!({"Parameter": {"Name": name, "Type": "SecureString", "Value": value, "Version": 1}});
        self.stored().answers.insert((PARAMETERS, name.to_owned()), answer);
    }

    /// Stores a text in Secrets Manager.
    pub fn put_secret(&self, id: &str, value: &str) {
        let answer = json!({"Name": id, "SecretString": value, "VersionStages": ["AWSCURRENT"]});
        self.stored().answers.insert((SECRETS, id.to_owned()), answer);
    }

    /// Stores bytes in Secrets Manager.
    pub fn put_binary_secret(&self, id: &str) {
        self.stored().answers.insert((SECRETS, id.to_owned()), json!({"Name": id, "SecretBinary": "AAAA"}));
    }

    /// Refuses the next requests, as it does while the function starts.
    pub fn not_ready_for(&self, requests: usize) {
        self.stored().not_ready_for = requests;
    }

    fn stored(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.stored.lock().expect("nobody panics with it")
    }
}

impl Drop for SecretsExtension {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, stored: Arc<Mutex<Stored>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let stored = stored.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let (status, body) = answer(&mut stored.lock().expect("nobody panics with it"), &request);
            let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
            async move { Ok::<_, Infallible>(response.expect("a response")) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

fn answer(stored: &mut Stored, request: &Request<Incoming>) -> (u16, String) {
    if request.headers().get("x-aws-parameters-secrets-token").is_none_or(|token| token != TOKEN) {
        return (403, "Forbidden".to_owned());
    }
    if stored.not_ready_for > 0 {
        stored.not_ready_for -= 1;
        return (400, "not ready to serve traffic, please wait".to_owned());
    }
    let query: HashMap<&str, String> = (request.uri().query().unwrap_or_default().split('&'))
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name, percent_decode_str(value).decode_utf8_lossy().into_owned()))
        .collect();
    let asked = match request.uri().path() {
        PARAMETERS if query.get("withDecryption").is_some_and(|decrypt| decrypt == "true") => {
            query.get("name").map(|name| (PARAMETERS, name.clone()))
        }
        SECRETS => query.get("secretId").map(|id| (SECRETS, id.clone())),
        _ => None,
    };
    match asked.and_then(|asked| stored.answers.get(&asked)) {
        Some(answer) => (200, answer.to_string()),
        None => (400, "an unexpected error occurred while executing request".to_owned()),
    }
}
