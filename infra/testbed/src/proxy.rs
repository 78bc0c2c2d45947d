//! A TCP proxy that breaks the network.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::node::bind_free_ports;

/// A TCP proxy on 127.0.0.1 in front of an address. Dropping it closes it.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    network: watch::Sender<Network>,
    connections: Arc<AtomicUsize>,
}

/// What the network does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    state: State,
    /// Connections made before the newest cut are gone.
    cuts: usize,
    /// Connections made before it last forgot hear nothing any more.
    forgets: usize,
    /// How long bytes travel in each direction.
    delay: Duration,
}

/// The most pieces that are on their way in one direction.
const ON_THEIR_WAY: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Stalled,
    Cut,
}

impl Proxy {
    /// Starts a proxy in front of `target`.
    pub async fn start(target: SocketAddr) -> Proxy {
        Proxy::on(bind_free_ports(1).remove(0), target)
    }

    /// As [`Proxy::start`], at an address of the loopback network: for a port that must be a certain one.
    pub async fn start_at(addr: SocketAddr, target: SocketAddr) -> Proxy {
        Proxy::on(std::net::TcpListener::bind(addr).expect("the address is free"), target)
    }

    fn on(listener: std::net::TcpListener, target: SocketAddr) -> Proxy {
        listener.set_nonblocking(true).expect("it is open");
        let listener = TcpListener::from_std(listener).expect("it does not block");
        let addr = listener.local_addr().expect("it is bound");
        let (network, seen) =
            watch::channel(Network { state: State::Whole, cuts: 0, forgets: 0, delay: Duration::ZERO });
        let connections = Arc::<AtomicUsize>::default();
        tokio::spawn(serve(listener, addr, target, seen, connections.clone()));
        Proxy { addr, network, connections }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Resets all connections, and refuses new ones.
    pub fn cut(&self) {
        self.network.send_modify(|network| {
            network.state = State::Cut;
            network.cuts += 1;
        });
    }

    /// A black hole: no byte moves either way, connections stay open, new ones are accepted and hear nothing.
    pub fn stall(&self) {
        self.network.send_modify(|network| network.state = State::Stalled);
    }

    /// What a NAT gateway does to connections that have been idle for too long: those made so far become black holes for
    /// good, new ones pass.
    pub fn forget(&self) {
        self.network.send_modify(|network| network.forgets += 1);
    }

    /// From now on bytes take this long in each direction, and a new connection one round trip to be there.
    pub fn delay(&self, each_way: Duration) {
        self.network.send_modify(|network| network.delay = each_way);
    }

    /// Everything works again within milliseconds; what was stalled goes on where it stopped.
    pub fn heal(&self) {
        self.network.send_modify(|network| network.state = State::Whole);
    }
}

type Seen = watch::Receiver<Network>;

/// Accepts connections until the proxy is dropped.
async fn serve(
    listener: TcpListener,
    addr: SocketAddr,
    target: SocketAddr,
    mut seen: Seen,
    connections: Arc<AtomicUsize>,
) {
    let mut listener = Some(listener);
    loop {
        let network = *seen.borrow_and_update();
        if network.state == State::Cut {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(addr).await.expect("nobody else takes the port of a proxy that is cut"));
        }
        tokio::select! {
            changed = seen.changed() => if changed.is_err() { return },
            client = accept(listener.as_ref()) => {
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(carry(client, target, View { seen: seen.clone(), made: network }));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((client, _)) = listener.accept().await {
            return client;
        }
    }
}

/// The network as one connection sees it.
#[derive(Clone)]
struct View {
    seen: Seen,
    /// As it was when the connection was made.
    made: Network,
}

impl View {
    /// Returns when bytes may move; never, once the proxy is dropped.
    async fn whole(&self) {
        self.reaches(|network| self.lets_bytes_move(network)).await;
    }

    /// Returns when bytes may no longer move; never, once the proxy is dropped.
    async fn broken(&self) {
        self.reaches(|network| !self.lets_bytes_move(network)).await;
    }

    /// Returns when the connection is cut, or the proxy is dropped.
    async fn cut(&self) {
        // An error says that the proxy is gone.
        let _ = self.seen.clone().wait_for(|network| network.cuts != self.made.cuts).await;
    }

    fn lets_bytes_move(&self, network: &Network) -> bool {
        network.state == State::Whole && network.forgets == self.made.forgets
    }

    async fn reaches(&self, wanted: impl Fn(&Network) -> bool) {
        if self.seen.clone().wait_for(wanted).await.is_err() {
            std::future::pending().await
        }
    }

    fn delay(&self) -> Duration {
        self.seen.borrow().delay
    }
}

/// Carries one connection until it ends, is cut, or the proxy is dropped.
async fn carry(mut client: TcpStream, target: SocketAddr, view: View) {
    let mut gone = pin!(view.cut());
    let connected = async {
        view.whole().await;
        sleep(view.delay() * 2).await;
        TcpStream::connect(target).await
    };
    let mut server = tokio::select! {
        server = connected => server.ok(),
        () = &mut gone => None,
    };
    let Some(server) = &mut server else { return reset(&client) };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        _ = async { tokio::join!(pump(from_client, to_server, &view), pump(from_server, to_client, &view)) } => {}
        () = &mut gone => {
            reset(&client);
            reset(server);
        }
    }
}

/// Whoever is cut off sees a reset when the stream is dropped, not an orderly end.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Moves bytes one way while the network is whole.
async fn pump(from: ReadHalf<'_>, to: WriteHalf<'_>, view: &View) {
    let (sender, receiver) = mpsc::channel(ON_THEIR_WAY);
    tokio::join!(take(from, sender, view), deliver(receiver, to, view));
}

type Piece = (Instant, Vec<u8>);

async fn take(mut from: ReadHalf<'_>, pieces: mpsc::Sender<Piece>, view: &View) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        view.whole().await;
        let read = tokio::select! {
            biased;
            () = view.broken() => continue,
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        let due = Instant::now() + view.delay();
        if read == 0 || pieces.send((due, buffer[..read].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn deliver(mut pieces: mpsc::Receiver<Piece>, mut to: WriteHalf<'_>, view: &View) {
    while let Some((due, bytes)) = pieces.recv().await {
        sleep_until(due).await;
        view.whole().await;
        if to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    view.whole().await;
    let _ = to.shutdown().await;
}
