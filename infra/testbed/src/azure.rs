//! The Azure Functions host, built from what its source does to a custom handler: it starts the program, asks it for `/`
//! until it answers, hands requests to it, and kills it without a word.

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep};

use crate::azure_request::{forwarded, proxied};
use crate::http::{BoxError, exchange, exchange_with};
use crate::node::bind_free_ports;

const POLL: Duration = Duration::from_millis(25);
const START_LIMIT: Duration = Duration::from_secs(30);
const ACTIVITY_LIMIT: Duration = Duration::from_secs(240);
const MAX_ATTEMPTS: u32 = 10;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_millis(250);

/// How the host hands requests over: a setting in host.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `enableProxyingHttpRequest`: as they are.
    Proxying,
    /// `enableForwardingHttpRequest`: made anew, with all that gets lost that way.
    Forwarding,
}

/// A stand-in for the Functions host with one custom handler. Dropping it kills the handler.
#[derive(Debug)]
pub struct AzureHost {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: AbortHandle,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    mode: Mode,
    program: PathBuf,
    variables: Vec<(OsString, OsString)>,
    /// The handler that has answered the host's poll.
    handler: watch::Sender<Option<Handler>>,
    starts: AtomicUsize,
    send_twice: AtomicBool,
    /// What all handlers have logged.
    log: NamedTempFile,
}

#[derive(Clone, Copy, Debug)]
struct Handler {
    addr: SocketAddr,
    process: u32,
}

impl AzureHost {
    /// Starts the host, and the program as its handler with these variables and no others but the host's own. Returns
    /// when the handler has answered.
    pub async fn start<N, V>(
        mode: Mode,
        program: impl Into<PathBuf>,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> AzureHost
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let listener = bind_free_ports(1).remove(0);
        listener.set_nonblocking(true).expect("it is open");
        let listener = TcpListener::from_std(listener).expect("it does not block");
        let shared = Arc::new(Shared {
            mode,
            program: program.into(),
            variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            handler: watch::Sender::new(None),
            starts: AtomicUsize::new(0),
            send_twice: AtomicBool::new(false),
            log: NamedTempFile::new().expect("a temporary file"),
        });
        let addr = listener.local_addr().expect("it is bound");
        let server = tokio::spawn(serve(listener, shared.clone())).abort_handle();
        let host = AzureHost { addr, shared, server, keeper: Mutex::new(None) };
        host.start_handler().await;
        host
    }

    /// Where callers send their requests.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Hands the next request over twice with one invocation id, as the host does when it cannot read the first answer.
    /// The caller gets the second one.
    pub fn send_next_twice(&self) {
        self.shared.send_twice.store(true, Ordering::Relaxed);
    }

    /// Kills the handler as the host does when it stops: SIGKILL, at once. Requests wait for the next handler.
    pub async fn kill_handler(&self) {
        let keeper = self.keeper.lock().expect("nobody panics with it").take();
        if let Some(keeper) = keeper {
            keeper.abort();
            // With the task the handle of the process is dropped, which kills it.
            let _ = keeper.await;
        }
        self.shared.handler.send_replace(None);
    }

    /// Starts a handler, as the host does on another machine, and waits until it answers.
    pub async fn start_handler(&self) {
        self.kill_handler().await;
        let shared = self.shared.clone();
        *self.keeper.lock().expect("nobody panics with it") = Some(tokio::spawn(async move { shared.keep().await }));
        self.shared.handler().await;
    }

    /// The process that handles requests, when there is one.
    pub async fn handler_process(&self) -> u32 {
        self.shared.handler().await.process
    }

    /// What the handlers have logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.shared.log.path()).expect("the file is ours")
    }

    /// How often a handler has been started.
    pub fn starts(&self) -> usize {
        self.shared.starts.load(Ordering::Relaxed)
    }
}

impl Drop for AzureHost {
    fn drop(&mut self) {
        self.server.abort();
        if let Ok(Some(keeper)) = self.keeper.get_mut().map(Option::take) {
            keeper.abort();
        }
    }
}

impl Shared {
    /// Runs handlers, one after another, until one says by its code that it is done.
    async fn keep(&self) {
        loop {
            let addr = bind_free_ports(1)[0].local_addr().expect("it is bound");
            let mut handler = self.command(addr).spawn().expect("the handler can be run");
            let process = handler.id().expect("nobody has waited for it");
            self.starts.fetch_add(1, Ordering::Relaxed);
            let answers = async {
                polled(addr).await;
                self.handler.send_replace(Some(Handler { addr, process }));
                std::future::pending().await
            };
            let end = tokio::select! {
                end = handler.wait() => end.expect("it is our child"),
                () = answers => return,
            };
            self.handler.send_replace(None);
            if end.success() {
                return;
            }
        }
    }

    fn command(&self, addr: SocketAddr) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        for name in ["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"] {
            command.env(name, addr.port().to_string());
        }
        for name in ["FUNCTIONS_CUSTOMHANDLER_WORKER_ID", "FUNCTIONS_HTTPWORKER_ID"] {
            command.env(name, uuid::Uuid::now_v7().to_string());
        }
        command.env("FUNCTIONS_APP_ROOT_PATH", "/home/site/wwwroot");
        let log = std::fs::File::options().append(true).open(self.log.path()).expect("the file is ours");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        command
    }

    /// The handler, when one is ready.
    async fn handler(&self) -> Handler {
        let mut handlers = self.handler.subscribe();
        let ready = tokio::time::timeout(START_LIMIT, handlers.wait_for(Option::is_some)).await;
        let handler = ready.expect("a handler answers in time").expect("its sender lives as long as this");
        handler.expect("it was waited for")
    }
}

/// Asks for `/` until there is an answer, whatever it is.
async fn polled(addr: SocketAddr) {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let poll = Request::get("/").header(HOST, addr.to_string()).body(Full::new(Bytes::new())).expect("a request");
        if exchange(addr, poll, START_LIMIT).await.is_ok() {
            return;
        }
        assert!(Instant::now() < deadline, "the handler did not answer within {START_LIMIT:?}");
        sleep(POLL).await;
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let shared = shared.clone();
                async move {
                    let answer = answer(&shared, peer, request).await.unwrap_or_else(|error| {
                        let mut answer = Response::new(Bytes::from(error.to_string()));
                        *answer.status_mut() = StatusCode::BAD_GATEWAY;
                        answer
                    });
                    Ok::<_, Infallible>(answer.map(Full::new))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: &Shared, peer: SocketAddr, request: Request<Incoming>) -> Result<Response<Bytes>, BoxError> {
    if shared.mode == Mode::Forwarding {
        let handler = shared.handler().await.addr;
        let request = forwarded(request, peer, handler).await?;
        return exchange(handler, request.map(Full::new), ACTIVITY_LIMIT).await;
    }
    let request = proxied(request, peer)?;
    if shared.send_twice.swap(false, Ordering::Relaxed) {
        return pass_on_twice(shared, request).await;
    }
    pass_on(shared, request).await
}

/// Passes the body on as it comes. Once it flows it cannot be sent again: only the connection is tried more than once.
async fn pass_on(shared: &Shared, mut request: Request<Incoming>) -> Result<Response<Bytes>, BoxError> {
    let mut delay = FIRST_DELAY;
    let mut attempts = 1;
    let (stream, addr) = loop {
        let addr = shared.handler().await.addr;
        match TcpStream::connect(addr).await {
            Ok(stream) => break (stream, addr),
            Err(error) if attempts == MAX_ATTEMPTS => return Err(error.into()),
            Err(_) => sleep(delay).await,
        }
        attempts += 1;
        delay = (delay * 2).min(LAST_DELAY);
    };
    request.headers_mut().insert(HOST, addr.to_string().parse()?);
    exchange_with(stream, request, ACTIVITY_LIMIT).await
}

async fn pass_on_twice(shared: &Shared, request: Request<Incoming>) -> Result<Response<Bytes>, BoxError> {
    let addr = shared.handler().await.addr;
    let (mut head, body) = request.into_parts();
    head.headers.insert(HOST, addr.to_string().parse()?);
    let body = body.collect().await?.to_bytes();
    let copy = || Request::from_parts(head.clone(), Full::new(body.clone()));
    exchange(addr, copy(), ACTIVITY_LIMIT).await?;
    sleep(FIRST_DELAY).await;
    exchange(addr, copy(), ACTIVITY_LIMIT).await
}
