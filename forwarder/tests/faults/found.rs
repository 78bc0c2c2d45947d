//! What was found on the queues afterwards.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use testbed::{Vhost, in_time};
use webhook_queue::{QueueConfig, QueueUrl, Received, Settlement, Subscribe, Subscriber};

use super::load::Sent;
use super::{PROBE, QUEUE};

/// How long the queue must have been silent before it counts as empty.
const SILENCE: Duration = Duration::from_secs(2);
/// How long what a forwarder holds in a file may take to go on moving.
const PATIENCE: Duration = Duration::from_secs(60);

/// The numbers of the webhooks, and how many were there more than once.
#[derive(Default)]
pub(crate) struct Found {
    numbers: HashSet<usize>,
    pub(crate) copies: usize,
}

impl Found {
    pub(crate) async fn on(vhost: &Vhost) -> Found {
        let mut found = Found::default();
        found.drain(vhost).await;
        found
    }

    pub(crate) fn has(&self, sent: &Sent) -> bool {
        self.numbers.contains(&sent.number)
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn lost(&self, sent: &[Sent]) -> usize {
        sent.iter().filter(|sent| !self.has(sent)).count()
    }

    pub(crate) fn note(&mut self, body: &[u8]) {
        let number = std::str::from_utf8(body).unwrap().parse().unwrap();
        self.copies += usize::from(!self.numbers.insert(number) && number != PROBE);
    }

    /// Takes everything off the queue.
    pub(crate) async fn drain(&mut self, vhost: &Vhost) {
        let mut config = QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap());
        config.name = QUEUE.to_owned();
        config.declare = false;
        let mut subscriber = Subscriber::open(&config, 500).unwrap();
        let mut silence = Duration::from_secs(15);
        while let Ok(received) = tokio::time::timeout(silence, subscriber.next()).await {
            let Received::Delivery(delivery) = received else { panic!("nobody has crashed holding an event") };
            self.note(&delivery.event().body);
            in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
            silence = SILENCE;
        }
        in_time("the close", subscriber.close()).await;
    }

    /// Takes off the queue what a forwarder moves there in its own time, until all that was sent has been found.
    pub(crate) async fn drain_all(&mut self, vhost: &Vhost, sent: &[Sent]) {
        let (mut before, mut last) = (self.len(), Instant::now());
        loop {
            self.drain(vhost).await;
            if self.lost(sent) == 0 || (self.len() == before && last.elapsed() > PATIENCE) {
                return;
            }
            if self.len() > before {
                (before, last) = (self.len(), Instant::now());
            }
        }
    }
}
