//! The management API: what AMQP cannot tell.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::BoxError;

const TIMEOUT: Duration = Duration::from_secs(10);
/// No answer that we ask for is anywhere near this.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// One management API, with its user.
pub(super) struct Management {
    base: String,
    authorization: SecretString,
}

impl Management {
    /// From `https://user:password@host:port`.
    pub(super) fn new(url: &SecretString) -> Result<Management, BoxError> {
        let url = url.expose_secret();
        let (scheme, rest) = url.split_once("://").ok_or("QUEUE_MANAGEMENT_URL is not an address")?;
        let (login, host) = rest
            .rsplit_once('@')
            .ok_or("QUEUE_MANAGEMENT_URL names no user: write it as https://user:password@host")?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let basic = STANDARD.encode(format!("{}:{}", decode(user), decode(password)));
        Ok(Management {
            base: format!("{scheme}://{}", host.trim_end_matches('/')),
            authorization: format!("Basic {basic}").into(),
        })
    }

    /// The object at `/api/{segments}`, each segment escaped, or `None` where there is none.
    pub(super) async fn get(&self, segments: &[&str]) -> Result<Option<Value>, BoxError> {
        let path: Vec<String> =
            segments.iter().map(|segment| utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string()).collect();
        let uri: Uri = format!("{}/api/{}", self.base, path.join("/"))
            .parse()
            .map_err(|_| "QUEUE_MANAGEMENT_URL is not a valid address")?;
        let request = Request::builder()
            .method(Method::GET)
            .uri(uri)
            .header(http::header::AUTHORIZATION, self.authorization.expose_secret())
            .body(Full::<Bytes>::default())?;
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let exchange = async {
            let response = client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes();
            Ok::<_, BoxError>((status, body))
        };
        let (status, body) = tokio::time::timeout(TIMEOUT, exchange).await??;
        match status.as_u16() {
            200 => Ok(Some(serde_json::from_slice(&body)?)),
            404 => Ok(None),
            401 => Err("the management API refuses the user or password of QUEUE_MANAGEMENT_URL".into()),
            other => Err(format!("the management API answered {other}").into()),
        }
    }
}
