//! The client of the management API.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::BoxError;
use crate::http_client::Connections;
use crate::publish_url::{HostAndPort, escaped};

/// How long a question may take that nobody has set a deadline for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One management API, with its user.
pub(crate) struct Client {
    host: HeaderValue,
    authorization: HeaderValue,
    connections: Connections,
}

/// What the management API said.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Why it said nothing.
pub(crate) enum CallError {
    /// The deadline passed.
    TimedOut,
    /// There is no connection, or it broke before the answer.
    Broken(BoxError),
}

impl Client {
    /// Connects to nobody yet. Keeps at most so many connections while nobody uses them.
    pub(crate) fn new(
        host: &HostAndPort,
        tls: Option<ClientConfig>,
        user: &str,
        password: &SecretString,
        most_idle: usize,
    ) -> Result<Client, BoxError> {
        let basic = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        let mut authorization = HeaderValue::try_from(format!("Basic {basic}"))?;
        authorization.set_sensitive(true);
        let port = host.port.unwrap_or(if tls.is_some() { 443 } else { 80 });
        let connections = Connections::new(&host.host, port, tls, most_idle)?;
        Ok(Client { host: HeaderValue::try_from(host.to_string())?, authorization, connections })
    }

    /// The answer to one request to `/api/{segments}`, each segment escaped.
    pub(crate) async fn call(
        &self,
        method: &Method,
        segments: &[&str],
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let path: Vec<String> = segments.iter().map(|segment| escaped(segment)).collect();
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/{}", path.join("/")))
            .header(HOST, self.host.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| CallError::Broken(error.into()))?;
        let half = deadline.saturating_duration_since(Instant::now()) / 2;
        match timeout_at(deadline, self.connections.exchange(&request, half)).await {
            Ok(Ok((status, body))) => Ok(Answer { status: status.as_u16(), body }),
            Ok(Err(error)) => Err(CallError::Broken(error)),
            Err(_) => Err(CallError::TimedOut),
        }
    }

    /// Requests in flight keep theirs.
    #[cfg(feature = "rabbitmq_http")]
    pub(crate) fn drop_connections(&self) {
        self.connections.clear();
    }

    /// As [`call`](Client::call), with a deadline of its own.
    pub(crate) async fn ask(
        &self,
        method: &Method,
        segments: &[&str],
        body: Option<&Value>,
    ) -> Result<Answer, BoxError> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        self.call(method, segments, body, Instant::now() + TIMEOUT).await.map_err(|error| match error {
            CallError::TimedOut => format!("the management API did not answer within {TIMEOUT:?}").into(),
            CallError::Broken(error) => error,
        })
    }

    /// What is at `/api/{segments}`, or `None` where there is nothing.
    pub(crate) async fn get(&self, segments: &[&str]) -> Result<Option<Value>, BoxError> {
        let answer = self.ask(&Method::GET, segments, None).await?;
        match answer.status {
            200 => Ok(Some(serde_json::from_slice(&answer.body)?)),
            404 => Ok(None),
            _ => Err(answer.explain().into()),
        }
    }
}

impl Answer {
    /// What an answer means that is neither yes nor "there is none".
    pub(crate) fn explain(&self) -> String {
        match self.status {
            401 => "the management API refuses the user or password, or the user lacks the tag 'management' or access \
                    to the virtual host"
                .to_owned(),
            403 => "the management API does not allow this user to do that".to_owned(),
            status => format!("the management API answered {status}"),
        }
    }
}

/// Shows neither user nor password.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("host", &self.host).finish_non_exhaustive()
    }
}
