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

/// Sends a request and reads its whole answer.
pub(crate) async fn exchange<B>(
    addr: SocketAddr,
    request: Request<B>,
    limit: Duration,
) -> Result<Response<Bytes>, BoxError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    exchange_with(tokio::time::timeout(limit, TcpStream::connect(addr)).await??, request, limit).await
}

/// As [`exchange`], on this connection.
pub(crate) async fn exchange_with<B>(
    stream: TcpStream,
    request: Request<B>,
    limit: Duration,
) -> Result<Response<Bytes>, BoxError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
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
