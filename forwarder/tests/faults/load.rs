//! Senders: each keeps one connection and sends its next webhook when the last was answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::AT_ONCE;

/// How long a sender waits for an answer before it counts it as none.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a patient provider waits before it sends a webhook again that nobody answered.
const BETWEEN: Duration = Duration::from_millis(20);

/// No provider is that patient.
const MOST_PATIENCE: Duration = Duration::from_secs(60);

/// What became of one webhook.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) number: usize,
    /// `None`: no answer, the connection broke.
    pub(crate) status: Option<u16>,
    pub(crate) began: Instant,
    pub(crate) took: Duration,
}

/// A burst under way.
pub(crate) struct Burst {
    senders: JoinSet<Vec<Sent>>,
    next: Arc<AtomicUsize>,
    go: watch::Sender<bool>,
}

impl Burst {
    /// Sends the webhooks of these numbers, many at a time. The body of each is its number.
    pub(crate) fn start(addr: SocketAddr, numbers: std::ops::Range<usize>) -> Burst {
        Burst::new(addr, numbers, false)
    }

    /// As [`start`](Burst::start), and each webhook is sent until it is answered: its provider is patient.
    pub(crate) fn until_answered(addr: SocketAddr, numbers: std::ops::Range<usize>) -> Burst {
        Burst::new(addr, numbers, true)
    }

    fn new(addr: SocketAddr, numbers: std::ops::Range<usize>, patient: bool) -> Burst {
        let next = Arc::new(AtomicUsize::new(numbers.start));
        let (go, going) = watch::channel(true);
        let mut senders = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (next, mut going) = (Arc::clone(&next), going.clone());
            senders.spawn(async move {
                let (mut sent, mut connection) = (Vec::new(), None);
                loop {
                    going.wait_for(|go| *go).await.unwrap();
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return sent;
                    }
                    let mut last = send(addr, &mut connection, number).await;
                    let give_up = last.began + MOST_PATIENCE;
                    while patient && last.status.is_none() {
                        assert!(Instant::now() < give_up, "nobody answers webhook {number}");
                        tokio::time::sleep(BETWEEN).await;
                        last = send(addr, &mut connection, number).await;
                    }
                    sent.push(last);
                }
            });
        }
        Burst { senders, next, go }
    }

    /// Waits until this number has been sent.
    pub(crate) async fn reached(&self, number: usize) {
        let mut seen = 0;
        while seen < number {
            seen = testbed::eventually("the burst goes on", Duration::from_secs(60), async || {
                Some(self.next.load(Ordering::Relaxed)).filter(|now| *now > seen)
            })
            .await;
        }
    }

    /// Sends nothing more until resumed.
    pub(crate) fn hold(&self) {
        self.go.send_replace(false);
    }

    pub(crate) fn resume(&self) {
        self.go.send_replace(true);
    }

    pub(crate) async fn finish(self) -> Vec<Sent> {
        self.senders.join_all().await.into_iter().flatten().collect()
    }
}

/// Sends one webhook over the connection, or over a new one.
pub(crate) async fn send(addr: SocketAddr, connection: &mut Option<SendRequest<Full<Bytes>>>, number: usize) -> Sent {
    let began = Instant::now();
    let status = tokio::time::timeout(PATIENCE, exchange(addr, connection, number)).await.ok().flatten();
    if status.is_none() {
        *connection = None;
    }
    Sent { number, status, began, took: began.elapsed() }
}

async fn exchange(addr: SocketAddr, connection: &mut Option<SendRequest<Full<Bytes>>>, number: usize) -> Option<u16> {
    if connection.as_ref().is_none_or(SendRequest::is_closed) {
        let stream = TcpStream::connect(addr).await.ok()?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(driver);
        *connection = Some(sender);
    }
    let request = http::Request::post("/webhooks/shop/order")
        .header("host", "localhost")
        .body(Full::from(number.to_string()))
        .unwrap();
    let sender = connection.as_mut()?;
    sender.ready().await.ok()?;
    let response = sender.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    response.into_body().collect().await.ok()?;
    Some(status)
}

/// Sends one body of so many bytes, and says what it was answered.
pub(crate) async fn send_large(addr: SocketAddr, bytes: usize) -> Option<u16> {
    let stream = TcpStream::connect(addr).await.ok()?;
    let (mut sender, driver) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(driver);
    let body: Full<Bytes> = Full::new(Bytes::from(vec![0; bytes]));
    let request = http::Request::post("/webhooks/shop/order").header("host", "localhost").body(body).unwrap();
    let response = tokio::time::timeout(Duration::from_secs(60), sender.send_request(request)).await.ok()?.ok()?;
    Some(response.status().as_u16())
}
