//! HTTP connections to one peer, kept open from one request to the next.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::BoxError;
use crate::moment::Moment;

/// How long connecting may take: name, TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may lie idle before it is not used any more. RabbitMQ 4 hangs up after five seconds, and after
/// a freeze of the process nobody knows who has forgotten it.
const TRUSTED_FOR: Duration = Duration::from_secs(4);
/// No answer that we ask for is anywhere near this.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The connections to one peer. At most one request is on each.
pub struct Connections {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    most_idle: usize,
    /// Where the host is, if not where its name says.
    address: Option<SocketAddr>,
    /// The one that was used last is at the end.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Moment,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Whoever gives up a request ends the connection by dropping it.
    _driver: AbortOnDropHandle<()>,
}

impl Connections {
    /// To a host, whose IPv6 address stands in brackets, with TLS where it is configured.
    pub fn new(host: &str, port: u16, tls: Option<ClientConfig>, most_idle: usize) -> Result<Connections, BoxError> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match tls {
            Some(config) => {
                Some((TlsConnector::from(std::sync::Arc::new(config)), ServerName::try_from(host.clone())?))
            }
            None => None,
        };
        Ok(Connections { host, port, tls, most_idle, address: None, idle: Mutex::default() })
    }

    /// Connects to this address, where somebody must be who can prove to be the host.
    pub fn at(self, address: SocketAddr) -> Connections {
        Connections { address: Some(address), ..self }
    }

    /// The answer to one request.
    ///
    /// Anybody in between may have dropped a connection that lay idle, and does not say so: a request that fails on one,
    /// or has no answer within `patience`, is sent once more, on a new one.
    pub async fn exchange(
        &self,
        request: &Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        if let Some(connection) = self.take() {
            match timeout(patience, self.exchange_on(connection, request.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                // What befell this one may have befallen them all.
                Ok(Err(_)) | Err(_) => self.clear(),
            }
        }
        self.exchange_on(self.connect().await?, request.clone()).await
    }

    async fn exchange_on(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        connection.sender.ready().await?;
        let response = connection.sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Idle::is_trusted);
        if idle.len() < self.most_idle {
            idle.push(Idle { connection, since: Moment::now() });
        }
        Ok((status, body))
    }

    async fn connect(&self) -> Result<Connection, BoxError> {
        let peer = format!("{}:{}", self.host, self.port);
        let attempt = async {
            let stream = match self.address {
                None => TcpStream::connect((self.host.as_str(), self.port)).await?,
                Some(address) => TcpStream::connect(address).await?,
            };
            stream.set_nodelay(true)?;
            match &self.tls {
                None => open(TokioIo::new(stream)).await,
                Some((connector, name)) => open(TokioIo::new(connector.connect(name.clone(), stream).await?)).await,
            }
        };
        match timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(format!("no connection to {peer}: {error}").into()),
            Err(_) => Err(format!("no connection to {peer} within {CONNECT_TIMEOUT:?}").into()),
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Idle::is_trusted);
        idle.pop().map(|idle| idle.connection)
    }

    /// Lets go of all connections that are not in use.
    pub(crate) fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Idle {
    fn is_trusted(&self) -> bool {
        self.since.elapsed() <= TRUSTED_FOR && !self.connection.sender.is_closed()
    }
}

async fn open<S: Read + Write + Unpin + Send + 'static>(stream: S) -> Result<Connection, BoxError> {
    let (sender, connection) = handshake(stream).await?;
    // Whatever goes wrong is told to whoever waits for an answer.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { sender, _driver: AbortOnDropHandle::new(driver) })
}
