//! What the benchmarks share: webhooks over real connections, and medians.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot run says why")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use webhook_forwarder::ForwarderConfig;
use webhook_queue::{Env, Publisher, QueueConfig};

/// The size of every body.
pub const BODY_BYTES: usize = 1024;
/// How often each figure is measured; the runs are interleaved, and the median counts.
pub const ROUNDS: usize = 5;

/// Serves this queue from a forwarder in this process, and says where.
pub async fn forwarder(queue: &QueueConfig) -> SocketAddr {
    let env = Env::from_pairs([("LISTEN", "127.0.0.1:0"), ("SOURCE_SHOP_OPEN", "yes")]);
    let config = ForwarderConfig::with_env(env).unwrap();
    let listener = webhook_forwarder::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let publisher = Publisher::open(queue).unwrap();
    tokio::spawn(webhook_forwarder::serve(config, publisher, listener, std::future::pending()));
    address
}

/// Sends webhooks over so many connections, each its next one when the last was answered 200. Says how many a second.
pub async fn webhooks_per_second(address: SocketAddr, connections: usize, webhooks: usize) -> f64 {
    let request: Arc<[u8]> = [
        format!("POST /webhooks/shop/order HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY_BYTES}\r\n\r\n")
            .into_bytes(),
        vec![b'x'; BODY_BYTES],
    ]
    .concat()
    .into();
    let left = Arc::new(AtomicUsize::new(webhooks));
    let mut senders = JoinSet::new();
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        streams.push(stream);
    }
    let began = Instant::now();
    for mut stream in streams {
        let (request, left) = (Arc::clone(&request), Arc::clone(&left));
        senders.spawn(async move {
            let take = |left: usize| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                stream.write_all(&request).await.unwrap();
                read_answer(&mut stream).await;
            }
        });
    }
    senders.join_all().await;
    per_second(webhooks, began.elapsed())
}

/// Reads one answer, which must be a 200 with its whole body in sight.
async fn read_answer(stream: &mut TcpStream) {
    let mut answer = Vec::with_capacity(512);
    loop {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the forwarder closed the connection");
        if answer.ends_with(b"}") {
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            return;
        }
    }
}

/// A rate.
pub fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// The one in the middle.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Figures of several rounds under their names.
#[derive(Debug, Default)]
pub struct Figures(Vec<(String, Vec<f64>)>);

impl Figures {
    /// Notes one round's figure.
    pub fn note(&mut self, name: &str, figure: f64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, figures)) => figures.push(figure),
            None => self.0.push((name.to_owned(), vec![figure])),
        }
    }

    /// The median of all rounds.
    pub fn median(&self, name: &str) -> f64 {
        median(self.0.iter().find(|(known, _)| known == name).map(|(_, figures)| figures.iter().copied()).unwrap())
    }

    /// Prints every median with its lowest and highest round.
    pub fn print(&self) {
        for (name, figures) in &self.0 {
            let (low, high) =
                figures.iter().fold((f64::MAX, 0_f64), |(low, high), figure| (low.min(*figure), high.max(*figure)));
            println!("{name:<52} {:>8.0}/s   ({low:.0} to {high:.0} in {} rounds)", self.median(name), figures.len());
        }
    }

    /// Prints how two medians compare.
    pub fn ratio(&self, name: &str, to: &str, aim: &str) {
        println!("{name} : {to} = {:.2}   (aim: {aim})", self.median(name) / self.median(to));
    }
}
