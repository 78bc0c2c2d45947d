//! The management API of one broker.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::node::USER;

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub(crate) struct Management {
    pub(crate) addr: SocketAddr,
    pub(crate) password: String,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Management {
    /// The status and the body of one request. The status is 0, and the body the reason, when there is no answer.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        match tokio::time::timeout(DEADLINE, self.try_call(method, path, body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => (0, Value::String(error.to_string())),
            Err(_) => (0, Value::String(format!("no answer within {DEADLINE:?}"))),
        }
    }

    async fn try_call(&self, method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value), BoxError> {
        let stream = TcpStream::connect(self.addr).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/{path}"))
            .header("host", self.addr.to_string())
            .header("authorization", format!("Basic {}", STANDARD.encode(format!("{USER}:{}", self.password))))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.map(|body| body.to_string()).unwrap_or_default())))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        connection.abort();
        let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
        Ok((
            status,
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or_else(|_| text()) },
        ))
    }
}
