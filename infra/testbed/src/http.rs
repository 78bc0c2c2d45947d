//! One HTTP request on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that can be sent.
pub(crate) trait AnyBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}
impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static> AnyBody for B {}

/// Sends a request and reads its whole answer.
pub(crate) async fn exchange(
    addr: SocketAddr,
    request: Request<impl AnyBody>,
    limit: Duration,
) -> Result<Response<Bytes>, BoxError> {
    exchange_with(tokio::time::timeout(limit, TcpStream::connect(addr)).await??, request, limit).await
}

/// As [`exchange`], on this connection.
pub(crate) async fn exchange_with(
    stream: TcpStream,
    request: Request<impl AnyBody>,
    limit: Duration,
) -> Result<Response<Bytes>, BoxError> {
    tokio::time::timeout(limit, async {
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        Ok(Response::from_parts(head, body))
    })
    .await?
}
