//! The SDK's requests, carried by the HTTP client that asks the management API: one TLS stack, HTTP/1 only, and
//! connections that are not trusted for longer than they deserve, least of all after a freeze.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request, Uri};
use http_body_util::Full;

use crate::BoxError;
use crate::http_client::{Connections, client_config};

const HTTPS: u16 = 443;
const HTTP: u16 = 80;
/// How many connections are kept while nobody uses them.
const MOST_IDLE: usize = 32;

/// The connections to one endpoint.
#[derive(Clone)]
pub(super) struct Transport {
    connections: Arc<Connections>,
}

impl Transport {
    /// Connects nowhere yet.
    pub(super) fn new(endpoint: &str) -> Result<Transport, BoxError> {
        let endpoint: Uri = endpoint.parse()?;
        let secure = endpoint.scheme() == Some(&Scheme::HTTPS);
        let tls = if secure { Some(client_config(None)?) } else { None };
        let port = endpoint.port_u16().unwrap_or(if secure { HTTPS } else { HTTP });
        let connections = Connections::new(endpoint.host().unwrap_or_default(), port, tls, MOST_IDLE)?;
        Ok(Transport { connections: Arc::new(connections) })
    }
}

/// Lets go of all idle connections when a request ends without an answer, be it because the SDK has lost its patience:
/// the others are then no better.
struct Unanswered(Option<Arc<Connections>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(connections) = &self.0 {
            connections.clear();
        }
    }
}

async fn exchange(connections: Arc<Connections>, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = plain(request).map_err(ConnectorError::user)?;
    let mut unanswered = Unanswered(Some(Arc::clone(&connections)));
    // The SDK has its own patience with each attempt.
    let (status, body) = connections.exchange(&request, Duration::MAX).await.map_err(ConnectorError::io)?;
    unanswered.0 = None;
    let status = StatusCode::try_from(status.as_u16()).map_err(|error| ConnectorError::other(error.into(), None))?;
    Ok(HttpResponse::new(status, body.into()))
}

/// The request as it is written to a connection that is already there.
fn plain(request: HttpRequest) -> Result<Request<Full<Bytes>>, BoxError> {
    let (mut parts, body) = request.try_into_http1x()?.into_parts();
    if let Some(authority) = parts.uri.authority() {
        parts.headers.insert(HOST, HeaderValue::try_from(authority.as_str())?);
    }
    parts.uri = parts.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let body = body.bytes().map(Bytes::copy_from_slice).ok_or("a streamed body is not carried")?;
    Ok(Request::from_parts(parts, Full::new(body)))
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(exchange(Arc::clone(&self.connections), request))
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}
