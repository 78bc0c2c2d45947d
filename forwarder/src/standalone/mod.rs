//! The standalone host: HTTP/1.1 on a plain socket. The Azure Functions host is served the same way, as its custom
//! handler: only what is known about a caller differs.
//!
//! It holds at most `MAX_IN_FLIGHT` connections. Beyond that it stops accepting: the others wait in the kernel's
//! listen queue, which is better for them than being turned away.

mod azure;
mod connection;
mod phase;
mod signal;
mod summary;

pub use signal::shutdown_signal;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use webhook_queue::Publish;

use crate::client;
use crate::config::ForwarderConfig;
use crate::service::{Arrival, Forwarder};
use crate::sources::AddressList;

/// How many connections may wait in the kernel while the host is full.
const BACKLOG: u32 = 4096;
/// Files and connections that are not a caller's: the queue's, the log, the listener.
const RESERVED_FILES: usize = 64;
/// How long to wait when the system has no more files to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the queue may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the socket that [`serve`] accepts from.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown` resolves, then finishes what it has accepted and closes the publisher.
///
/// A request is given up after twice `READ_TIMEOUT` and `PUBLISH_TIMEOUT`, which is longer than any takes. That also bounds
/// how long stopping takes.
pub async fn serve<P>(
    config: ForwarderConfig,
    publisher: P,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    P: Publish + 'static,
{
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening on http://{address}");
    config.log_sources();
    let host = Arc::new(Host::new(&config, publisher));
    let mut entrance = Entrance {
        listener,
        waiting: None,
        places: Arc::new(Semaphore::new(connection_limit(config.max_in_flight))),
        host: host.clone(),
        tasks: TaskTracker::new(),
    };
    let mut summary = summary::Summary::default();
    tokio::select! {
        biased;
        () = shutdown => {}
        () = entrance.accept() => {}
        () = summary.keep_telling(&host) => {}
    }

    tracing::info!(connections = entrance.tasks.len(), "stopping: finishing what has been accepted");
    host.stop.cancel();
    let deadline = Instant::now() + host.timeouts.longest_request();
    let everybody_was_let_in = timeout_at(deadline, entrance.accept_rest()).await.is_ok();
    let tasks = entrance.close();
    if timeout_at(deadline, tasks.wait()).await.is_err() || !everybody_was_let_in {
        tracing::error!(connections = tasks.len(), "stopping although some requests have not been answered");
    }
    summary.tell(&host);
    if timeout(CLOSE_TIMEOUT, host.forwarder.close()).await.is_err() {
        tracing::error!("the queue did not close in time");
    }
    Ok(())
}

/// What every connection needs.
struct Host<P> {
    forwarder: Forwarder<P>,
    callers: Callers,
    timeouts: phase::Timeouts,
    /// Asks for the place of a connection from which nothing is lost: of those that are idle, or have been silent or
    /// halfway through a head for too long, the one that has been so the longest; else the next to be answered.
    make_room: Notify,
    stop: CancellationToken,
}

/// Who connects to the socket.
enum Callers {
    Anybody {
        trusted_proxies: AddressList,
    },
    /// Only the Azure Functions host.
    Azure,
}

impl Callers {
    fn arrival(&self, peer: IpAddr, headers: &HeaderMap, began: Instant) -> Arrival {
        match self {
            Callers::Anybody { trusted_proxies } => {
                Arrival { began, ..Arrival::now(Some(client::behind_proxies(peer, headers, trusted_proxies))) }
            }
            Callers::Azure => azure::arrival(headers, began),
        }
    }
}

impl<P: Publish> Host<P> {
    fn new(config: &ForwarderConfig, publisher: P) -> Host<P> {
        Host {
            forwarder: Forwarder::new(config, publisher),
            callers: match config.host {
                crate::Host::Azure => Callers::Azure,
                _ => Callers::Anybody { trusted_proxies: config.trusted_proxies.clone() },
            },
            timeouts: phase::Timeouts { read: config.read_timeout, publish: config.publish_timeout },
            make_room: Notify::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Whether a place was asked for that nobody has given up. Asking takes the call away.
    async fn is_to_make_room(&self) -> bool {
        tokio::select! {
            biased;
            () = self.make_room.notified() => true,
            () = std::future::ready(()) => false,
        }
    }
}

/// Where connections come in.
struct Entrance<P> {
    listener: TcpListener,
    /// Accepted, and without a place yet.
    waiting: Option<(TcpStream, SocketAddr)>,
    places: Arc<Semaphore>,
    host: Arc<Host<P>>,
    tasks: TaskTracker,
}

impl<P: Publish + 'static> Entrance<P> {
    /// Accepts until it is dropped. Who waits then, waits on.
    async fn accept(&mut self) {
        loop {
            let accepted = self.listener.accept().await;
            self.receive(accepted).await;
        }
    }

    /// Takes what the kernel has already accepted for us: closing the listener would reset it.
    async fn accept_rest(&mut self) {
        self.let_in().await;
        for _ in 0..=BACKLOG {
            let accepted = tokio::select! {
                biased;
                accepted = self.listener.accept() => accepted,
                () = tokio::task::yield_now() => return,
            };
            self.receive(accepted).await;
        }
    }

    async fn receive(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok(caller) => {
                self.waiting = Some(caller);
                self.let_in().await;
            }
            Err(error) if is_the_callers(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                self.host.make_room.notify_one();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Gives who is waiting a place, as soon as there is one.
    async fn let_in(&mut self) {
        if self.waiting.is_none() {
            return;
        }
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.host.make_room.notify_one();
                let Ok(place) = self.places.clone().acquire_owned().await else { return };
                // The place may be one that fell free by itself: nobody needs to give way any more.
                self.host.is_to_make_room().await;
                place
            }
        };
        if let Some((stream, peer)) = self.waiting.take() {
            self.start(stream, peer.ip(), place);
        }
    }

    fn start(&self, stream: TcpStream, peer: IpAddr, place: OwnedSemaphorePermit) {
        let host = self.host.clone();
        self.tasks.spawn(async move {
            connection::run(&host, stream, peer).await;
            drop(place);
        });
    }

    /// Nobody else comes in.
    fn close(self) -> TaskTracker {
        self.tasks.close();
        self.tasks
    }
}

/// Whether accepting failed because of the one connection that was to be accepted.
fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// `MAX_IN_FLIGHT`, or less where the system gives this process fewer files: without a file the queue could not be
/// reached any more, and every webhook would be turned away.
fn connection_limit(max_in_flight: usize) -> usize {
    let Some(files) = open_file_limit() else { return max_in_flight };
    let most = files.saturating_sub(RESERVED_FILES).max(1);
    if max_in_flight > most {
        tracing::info!(
            "MAX_IN_FLIGHT is {max_in_flight}, but the system allows {files} open files: holding at most {most} \
             connections; raise the limit (`ulimit -n`, `LimitNOFILE=`)"
        );
    }
    max_in_flight.min(most)
}

/// The soft limit, where the system says it in a file.
fn open_file_limit() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
}
