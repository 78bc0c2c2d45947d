//! Requests for credentials: to whoever has them, and seldom, so each has a connection of its own.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use tokio::time::timeout;

use super::transport::Transport;

/// Over plain HTTP or TLS, as the request's address says.
#[derive(Clone, Debug)]
pub(super) struct Anywhere;

#[derive(Debug)]
struct Connector {
    patience: Duration,
}

async fn exchange(request: HttpRequest, patience: Duration) -> Result<HttpResponse, ConnectorError> {
    let peer = Transport::new(request.uri()).map_err(ConnectorError::user)?;
    let answer = timeout(patience, peer.call(request)).await;
    answer.unwrap_or_else(|late| Err(ConnectorError::timeout(late.into())))
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(exchange(request, self.patience))
    }
}

impl HttpClient for Anywhere {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let limits = settings.connect_timeout().zip(settings.read_timeout());
        // Where one of them is missing, the limit on loading is all there is.
        let patience = limits.map_or(Duration::MAX, |(connect, read)| connect + read);
        SharedHttpConnector::new(Connector { patience })
    }
}
