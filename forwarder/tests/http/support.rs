//! A running host, a client that speaks bytes, and a queue that does what a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use webhook_forwarder::{ForwarderConfig, listen, serve};
use webhook_queue::{Env, Event, Publish, PublishError, Readiness};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// What [`Server::with_all_room_taken`] has for large bodies, and takes as one. A twelfth of it is small.
pub(crate) const ALL_ROOM: usize = 192 * 1024;

/// A queue in memory. Which queues fail how is tested with real ones elsewhere; here it is about the answers.
#[derive(Clone)]
pub(crate) struct Queue {
    state: Arc<Mutex<State>>,
    open: watch::Sender<bool>,
}

struct State {
    events: Vec<Event>,
    failure: Option<fn() -> PublishError>,
    readiness: Readiness,
    max_body_bytes: usize,
    started: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        let state = State {
            events: Vec::new(),
            failure: None,
            readiness: Readiness::Ready,
            max_body_bytes: usize::MAX,
            started: 0,
            closed: false,
        };
        Queue { state: Arc::new(Mutex::new(state)), open: watch::Sender::new(true) }
    }

    pub(crate) fn fail_with(&self, failure: fn() -> PublishError) {
        self.state.lock().unwrap().failure = Some(failure);
    }

    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().failure = None;
    }

    pub(crate) fn set_readiness(&self, readiness: Readiness) {
        self.state.lock().unwrap().readiness = readiness;
    }

    pub(crate) fn set_max_body_bytes(&self, bytes: usize) {
        self.state.lock().unwrap().max_body_bytes = bytes;
    }

    /// Confirms nothing until [`Queue::resume`].
    pub(crate) fn stall(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn resume(&self) {
        self.open.send_replace(true);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    /// How many publishes have begun.
    pub(crate) fn started(&self) -> usize {
        self.state.lock().unwrap().started
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().unwrap().closed
    }

    pub(crate) async fn wait_until(&self, what: &str, condition: impl Fn(&Queue) -> bool) {
        eventually(what, || condition(self)).await;
    }
}

impl Publish for Queue {
    async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        self.state.lock().unwrap().started += 1;
        let mut open = self.open.subscribe();
        if tokio::time::timeout_at(deadline, open.wait_for(|open| *open)).await.is_err() {
            return Err(PublishError::TimedOut);
        }
        let mut state = self.state.lock().unwrap();
        match state.failure {
            Some(failure) => Err(failure()),
            None => {
                // A copy of the body: whoever keeps the original keeps its room taken.
                state.events.push(Event { body: Bytes::copy_from_slice(&event.body), ..event.clone() });
                Ok(())
            }
        }
    }

    fn readiness(&self) -> Readiness {
        self.state.lock().unwrap().readiness.clone()
    }

    fn max_body_bytes(&self) -> usize {
        self.state.lock().unwrap().max_body_bytes
    }

    async fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }
}

/// The standalone host on a port of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) queue: Queue,
    prepared: Option<(ForwarderConfig, TcpListener)>,
    stop: CancellationToken,
    task: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    /// With the source `demo`, open to everybody.
    pub(crate) fn open(settings: &[(&str, &str)]) -> Server {
        Server::start(&[&[("SOURCE_DEMO_OPEN", "yes")], settings].concat())
    }

    /// Its queue is stalled, and the one webhook on its way there has taken all room for large bodies.
    pub(crate) async fn with_all_room_taken(read_timeout: &str) -> (Server, Client) {
        let server = Server::open(&[
            ("READ_TIMEOUT", read_timeout),
            ("MAX_IN_FLIGHT", "4"),
            ("MAX_IN_FLIGHT_BYTES", "256KiB"),
            ("MAX_BODY_BYTES", &ALL_ROOM.to_string()),
        ]);
        server.queue.stall();
        let mut first = server.connect().await;
        first.send(post("/webhooks/demo", "", vec![b'x'; ALL_ROOM])).await;
        server.queue.wait_until("the first is being published", |queue| queue.started() == 1).await;
        (server, first)
    }

    /// Stalls the queue and sends this many webhooks at once, for two of which there is a place.
    pub(crate) async fn with_two_of(webhooks: usize) -> (Server, Vec<Client>) {
        let server = Server::open(&[("MAX_IN_FLIGHT", "2")]);
        server.queue.stall();
        let mut clients = Vec::new();
        for _ in 0..webhooks {
            let mut client = server.connect().await;
            client.send(post("/webhooks/demo", "", "x")).await;
            clients.push(client);
        }
        server.queue.wait_until("two are being published", |queue| queue.started() == 2).await;
        (server, clients)
    }

    pub(crate) fn start(settings: &[(&str, &str)]) -> Server {
        let mut server = Server::prepare(settings);
        server.serve();
        server
    }

    /// With the port open and nobody there to accept.
    pub(crate) fn prepare(settings: &[(&str, &str)]) -> Server {
        let env = Env::from_pairs([&[("LISTEN", "127.0.0.1:0")], settings].concat());
        let config = ForwarderConfig::with_env(env).unwrap();
        let listener = listen(config.listen).unwrap();
        let address = listener.local_addr().unwrap();
        let queue = Queue::new();
        Server { address, queue, prepared: Some((config, listener)), stop: CancellationToken::new(), task: None }
    }

    pub(crate) fn serve(&mut self) {
        let (config, listener) = self.prepared.take().unwrap();
        let stopped = self.stop.clone().cancelled_owned();
        self.task = Some(tokio::spawn(serve(config, self.queue.clone(), listener, stopped)));
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.task.as_ref().is_some_and(JoinHandle::is_finished)
    }

    pub(crate) async fn connect(&self) -> Client {
        Client {
            stream: timeout(PATIENCE, TcpStream::connect(self.address)).await.unwrap().unwrap(),
            unread: Vec::new(),
        }
    }

    /// Sends these bytes on a connection of their own and returns the answer.
    pub(crate) async fn exchange(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    pub(crate) async fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.exchange(post(target, "", body)).await
    }
}

/// A request with a body and its length, and more header lines (each with its line break).
pub(crate) fn post(target: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("POST {target} HTTP/1.1\r\nhost: test\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.unwrap().unwrap();
    }

    /// Closes this half of the connection.
    pub(crate) async fn finish(&mut self) {
        timeout(PATIENCE, self.stream.shutdown()).await.unwrap().unwrap();
    }

    /// Reads one answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.read_answer()).await.unwrap()
    }

    /// Everything until the other side closes.
    pub(crate) async fn read_to_end(&mut self) -> String {
        timeout(PATIENCE, self.stream.read_to_end(&mut self.unread)).await.unwrap().unwrap();
        String::from_utf8(std::mem::take(&mut self.unread)).unwrap()
    }

    /// Whether the other side closes without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let closed = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await.unwrap();
        matches!(closed, Ok(0)) && self.unread.is_empty()
    }

    /// Whether nothing arrives for a moment.
    pub(crate) async fn hears_nothing_for(&mut self, moment: Duration) -> bool {
        self.unread.is_empty() && timeout(moment, self.stream.read_buf(&mut self.unread)).await.is_err()
    }

    async fn read_answer(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more().await;
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: String::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            self.read_more().await;
        }
        answer.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        answer
    }

    async fn read_more(&mut self) {
        let read = self.stream.read_buf(&mut self.unread).await.unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&self.unread));
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// Everything but the date.
    pub(crate) fn text(&self) -> String {
        let lines = self.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date: "));
        format!("{}\n{}", lines.collect::<Vec<_>>().join("\n"), self.body).trim_end().to_owned()
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
