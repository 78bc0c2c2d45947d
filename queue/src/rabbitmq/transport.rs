//! The TCP or TLS stream under an AMQP connection.
//!
//! lapin gets a stream that is already connected, for three reasons: without one of its TLS features it would speak
//! plaintext on `amqps://`, with one of them it pulls in a second generation of cryptography; its own connect loop
//! goes on in the background after its caller has given up; and a stalled connection can be ended at once only by
//! whoever owns the stream.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_rs::traits::{AsyncToSocketAddrs, Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_util::task::AtomicWaker;
use futures_util::{AsyncRead, AsyncWrite, Stream};
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tokio_util::sync::CancellationToken;
use tracing::dispatcher::{DefaultGuard, Dispatch, set_default};

use super::{CALL_TIMEOUT, CONNECT_TIMEOUT, short};
use crate::BoxError;
use crate::config::QueueConfig;
use crate::env::{ConfigError, Problem};
use crate::http_client::client_config;
use crate::moment::Moment;
use crate::queue_url::QueueUrl;

/// Asked for unless the URL says otherwise: by the server's own suggestion of a minute a dead peer is noticed after two.
const HEARTBEAT_SECONDS: u16 = 10;
/// The broker shows the name on its pages; it need not be longer than this.
const CONNECTION_NAME_LIMIT: usize = 200;

/// Everything needed to connect, checked once.
#[derive(Clone)]
pub(super) struct Dialer {
    uri: AMQPUri,
    tls: Option<TlsConnector>,
}

/// An open AMQP connection that can be ended without asking the peer.
pub(super) struct Dialed {
    pub(super) connection: Connection,
    pub(super) switch: Switch,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The broker answered, and the answer was no: a limit on connections, the password, the virtual host.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Unreachable(#[from] BoxError),
}

impl Dialed {
    /// Ends the connection: politely, if the peer answers.
    pub(super) async fn close(self) {
        if !matches!(timeout(CALL_TIMEOUT, self.switch.leave(&self.connection)).await, Ok(Ok(()))) {
            self.switch.off();
        }
    }
}

impl Dialer {
    pub(super) fn new(config: &QueueConfig) -> Result<Dialer, ConfigError> {
        let problem = |variable: &str, message: String| ConfigError {
            problems: vec![Problem { variable: variable.to_owned(), message }],
        };
        #[allow(irrefutable_let_patterns, reason = "depends on the features")]
        let QueueUrl::Amqp(url) = &config.url else {
            return Err(problem("QUEUE_URL", "is not an amqp:// or amqps:// address".to_owned()));
        };
        let uri = parse(url).map_err(|message| problem("QUEUE_URL", message))?;
        let tls = match uri.scheme {
            AMQPScheme::AMQPS => Some(tls(config).map_err(|error| problem("QUEUE_CA_FILE", error.to_string()))?),
            AMQPScheme::AMQP if config.ca_file.is_some() => {
                return Err(problem("QUEUE_CA_FILE", "has no effect on an amqp:// address: use amqps://".to_owned()));
            }
            AMQPScheme::AMQP => None,
        };
        Ok(Dialer { uri, tls })
    }

    /// Connects within [`CONNECT_TIMEOUT`]. `name` is what the broker's management page shows.
    pub(super) async fn dial(&self, name: &str) -> Result<Dialed, DialError> {
        let switch = Switch::default();
        let attempt = async {
            let wire = self.open(switch.clone()).await?;
            let slot = Mutex::new(Some(wire));
            let take = async move |_: AMQPUri, _: Runtime<Kit>| {
                SILENT.with(|_| ());
                let wire = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                wire.map(AsyncTcpStream::Plain).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
            };
            let name: String = name.chars().take(CONNECTION_NAME_LIMIT).collect();
            let properties = ConnectionProperties::default()
                .with_connection_name(name.into())
                .configure_backoff(|backoff| backoff.with_max_times(0));
            let runtime = Runtime::new(Kit(Tokio::current()));
            Connection::connector(self.uri.clone(), runtime, take, properties)
                .await
                .map_err(|error| self.explain(error))
        };
        let late = || BoxError::from(format!("no connection to {} within {CONNECT_TIMEOUT:?}", self.peer()));
        let outcome = timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or_else(|_| Err(late().into()));
        match outcome {
            Ok(connection) => Ok(Dialed { connection, switch }),
            Err(error) => {
                switch.off();
                Err(error)
            }
        }
    }

    async fn open(&self, switch: Switch) -> Result<Wire, BoxError> {
        let authority = &self.uri.authority;
        let stream = TcpStream::connect((authority.host.as_str(), authority.port))
            .await
            .map_err(|error| format!("no connection to {}: {error}", self.peer()))?;
        stream.set_nodelay(true)?;
        let stream: Pin<Box<dyn ReadWrite + Send>> = match &self.tls {
            None => Box::pin(stream.compat()),
            Some(connector) => {
                let name = ServerName::try_from(authority.host.clone())?;
                let stream = connector
                    .connect(name, stream)
                    .await
                    .map_err(|error| format!("no TLS with {} (is it an amqp:// port?): {error}", self.peer()))?;
                Box::pin(stream.compat())
            }
        };
        Ok(Wire { stream, switch })
    }

    /// A handshake that ends in an abrupt close is how RabbitMQ answers several mistakes: say which.
    fn explain(&self, error: lapin::Error) -> DialError {
        let peer = self.peer();
        match error.kind() {
            ErrorKind::ProtocolError(answer) => {
                DialError::Refused(format!("{peer} refuses the connection: {}", answer.get_message()))
            }
            _ => {
                let guess = "user, password or virtual host wrong?";
                DialError::Unreachable(format!("{peer} did not accept the connection ({guess}): {error}").into())
            }
        }
    }

    fn peer(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.peer())
    }
}

/// Reads the address. The error never repeats it: it holds a password.
fn parse(url: &SecretString) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = url.expose_secret().parse().map_err(|_| {
        "is not a valid AMQP address: amqps://user:password@host/vhost, with %-escapes in user and password".to_owned()
    })?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

fn tls(config: &QueueConfig) -> Result<TlsConnector, BoxError> {
    Ok(TlsConnector::from(Arc::new(client_config(config.ca_file.as_deref())?)))
}

/// Ends a connection at once: lapin's own close waits for the peer, which may be the very thing that is stalled. Knows
/// when the peer was last heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Switch(Arc<SwitchState>);

#[derive(Debug, Default)]
struct SwitchState {
    heard: Mutex<Option<Moment>>,
    off: CancellationToken,
    leaving: AtomicBool,
    /// Cancelled when lapin has let go of the stream.
    gone: CancellationToken,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Switch {
    pub(super) fn off(&self) {
        self.0.off.cancel();
        self.0.reader.wake();
        self.0.writer.wake();
    }

    /// Asks the peer for the end, and waits until lapin has let go of the stream: by then all that was sent has been read.
    pub(super) async fn leave(&self, connection: &Connection) -> lapin::Result<()> {
        self.0.leaving.store(true, Ordering::Release);
        connection.close(200, short("bye")).await?;
        self.0.gone.cancelled().await;
        Ok(())
    }

    pub(super) fn is_off(&self) -> bool {
        self.0.off.is_cancelled()
    }

    /// Waits until somebody has ended the connection.
    pub(super) async fn turned_off(&self) {
        self.0.off.cancelled().await;
    }

    /// How long the peer has been silent.
    pub(super) fn silence(&self) -> Duration {
        let heard = *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map_or(Duration::MAX, |heard| heard.elapsed())
    }

    fn heard(&self) {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Moment::now());
    }

    fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Acquire)
    }

    /// Registers the task first, so that a switch in between cannot be missed.
    fn poll(&self, waker: &AtomicWaker, cx: &Context<'_>) -> io::Result<()> {
        waker.register(cx.waker());
        if self.is_off() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

thread_local! {
    /// Silences the thread on which lapin reads and writes, one of its own for each connection. It would log every frame
    /// there at the level trace, password and bodies with it, and at the level warn a message that comes back.
    static SILENT: DefaultGuard = set_default(&Dispatch::none());
}

/// The stream that lapin reads and writes.
pub(super) struct Wire {
    stream: Pin<Box<dyn ReadWrite + Send>>,
    switch: Switch,
}

trait ReadWrite: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> ReadWrite for T {}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.switch.poll(&self.switch.0.reader, cx)?;
        match self.stream.as_mut().poll_read(cx, buffer) {
            // Once both have said goodbye the peer hangs up. lapin would log that as an error if it looked at the stream
            // before it looked at its own state.
            Poll::Ready(Ok(0) | Err(_)) if self.switch.is_leaving() => Poll::Pending,
            read => {
                if matches!(read, Poll::Ready(Ok(1..))) {
                    self.switch.heard();
                }
                read
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.switch.0.gone.cancel();
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.switch.poll(&self.switch.0.writer, cx)?;
        self.stream.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.poll(&self.switch.0.writer, cx)?;
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.poll(&self.switch.0.writer, cx)?;
        match self.stream.as_mut().poll_close(cx) {
            // The peer was faster.
            Poll::Ready(Err(_)) if self.switch.is_leaving() => Poll::Ready(Ok(())),
            closed => closed,
        }
    }
}

/// Tokio, with [`Wire`] for a TCP stream.
#[derive(Clone, Debug)]
struct Kit(Tokio);

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, f: F) -> T {
        self.0.block_on(f)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, f: F) -> Task<Self::Task<T>> {
        self.0.spawn(f)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, f: F) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(f)
    }
}

impl Reactor for Kit {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    // lapin gets its stream from the dialer and calls neither this nor tcp_connect_addr. The bound `AsSysFd` of the
    // trait cannot be named outside async-rs; leaving it away is allowed.
    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Wire, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = std::time::Instant> + Send + 'static {
        self.0.interval(duration)
    }

    async fn tcp_connect<A: AsyncToSocketAddrs + Send>(&self, _: A) -> io::Result<Wire> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn tcp_connect_addr(&self, _: std::net::SocketAddr) -> impl Future<Output = io::Result<Wire>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
