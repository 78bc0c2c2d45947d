//! A TCP proxy that breaks the network.

use std::net::SocketAddr;
use std::pin::pin;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::node::bind_free_ports;

/// A TCP proxy on 127.0.0.1 in front of an address. Dropping it closes it.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    network: watch::Sender<Network>,
}

/// What the network does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    state: State,
    /// Connections made before the newest cut are gone.
    cuts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Stalled,
    Cut,
}

impl Proxy {
    /// Starts a proxy in front of `target`.
    pub async fn start(target: SocketAddr) -> Proxy {
        let listener = bind_free_ports(1).remove(0);
        listener.set_nonblocking(true).expect("it is open");
        let listener = TcpListener::from_std(listener).expect("it does not block");
        let addr = listener.local_addr().expect("it is bound");
        let (network, seen) = watch::channel(Network { state: State::Whole, cuts: 0 });
        tokio::spawn(serve(listener, addr, target, seen));
        Proxy { addr, network }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Resets all connections, and refuses new ones.
    pub fn cut(&self) {
        self.network.send_modify(|network| *network = Network { state: State::Cut, cuts: network.cuts + 1 });
    }

    /// A black hole: no byte moves either way, connections stay open, new ones are accepted and hear nothing.
    pub fn stall(&self) {
        self.network.send_modify(|network| network.state = State::Stalled);
    }

    /// Everything works again within milliseconds; what was stalled goes on where it stopped.
    pub fn heal(&self) {
        self.network.send_modify(|network| network.state = State::Whole);
    }
}

type Seen = watch::Receiver<Network>;

/// Accepts connections until the proxy is dropped.
async fn serve(listener: TcpListener, addr: SocketAddr, target: SocketAddr, mut seen: Seen) {
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
                tokio::spawn(carry(client, target, seen.clone(), network.cuts));
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

/// Carries one connection until it ends, is cut, or the proxy is dropped.
async fn carry(mut client: TcpStream, target: SocketAddr, seen: Seen, cuts: usize) {
    let mut later = seen.clone();
    let mut gone = pin!(later.wait_for(|network| network.cuts != cuts));
    let connected = async {
        whole(&seen).await;
        TcpStream::connect(target).await
    };
    let mut server = tokio::select! {
        server = connected => server.ok(),
        _ = &mut gone => None,
    };
    let Some(server) = &mut server else { return reset(&client) };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        _ = async { tokio::join!(pump(from_client, to_server, seen.clone()), pump(from_server, to_client, seen.clone())) } => {}
        _ = &mut gone => {
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
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, seen: Seen) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        whole(&seen).await;
        let read = tokio::select! {
            biased;
            () = broken(&seen) => continue,
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        whole(&seen).await;
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}

/// Returns when bytes may move; never, once the proxy is dropped.
async fn whole(seen: &Seen) {
    reaches(seen, |state| state == State::Whole).await;
}

/// Returns when bytes may no longer move; never, once the proxy is dropped.
async fn broken(seen: &Seen) {
    reaches(seen, |state| state != State::Whole).await;
}

async fn reaches(seen: &Seen, wanted: impl Fn(State) -> bool) {
    if seen.clone().wait_for(|network| wanted(network.state)).await.is_err() {
        std::future::pending().await
    }
}
