//! The rows, and what each must show.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use testbed::{Vhost, in_time};
use webhook_queue::{QueueConfig, QueueUrl, Received, Settlement, Subscribe, Subscriber};

use super::forwarder::Forwarder;
use super::load::{Sent, send};
use super::{LATEST_ANSWER, LATEST_RECOVERY};

/// How long the queue must have been silent before it counts as empty.
const SILENCE: Duration = Duration::from_secs(2);

const COLUMNS: [&str; 9] =
    ["fault", "sent", "200", "503", "unanswered", "lost", "copies", "slowest answer", "works again after"];

/// One fault, measured.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) sent: Vec<Sent>,
    /// Found on the queue, by number.
    pub(crate) found: HashSet<usize>,
    pub(crate) copies: usize,
    pub(crate) recovery: Duration,
    /// Confirmed by the broker and then deleted together with the queue: not ours to save.
    pub(crate) brokers_own: bool,
}

impl Row {
    fn print(&self) {
        let of = |status| self.sent.iter().filter(|sent| sent.status == status).count().to_string();
        let own = if self.brokers_own { " (the broker's own)" } else { "" };
        let cells = [
            self.fault.to_owned(),
            self.sent.len().to_string(),
            of(Some(200)),
            of(Some(503)),
            of(None),
            format!("{}{own}", self.lost()),
            self.copies.to_string(),
            format!("{} ms", self.slowest().as_millis()),
            format!("{} ms", self.recovery.as_millis()),
        ];
        testbed::row("Webhooks through faults", &COLUMNS, &cells);
    }

    fn lost(&self) -> usize {
        self.sent.iter().filter(|sent| sent.status == Some(200) && !self.found.contains(&sent.number)).count()
    }

    fn slowest(&self) -> Duration {
        self.sent.iter().map(|sent| sent.took).max().unwrap_or_default()
    }

    pub(crate) fn check(&self) {
        self.print();
        assert!(self.brokers_own || self.lost() == 0, "{}: {} lost", self.fault, self.lost());
        assert!(self.slowest() <= LATEST_ANSWER, "{}: an answer took {:?}", self.fault, self.slowest());
        assert!(self.recovery <= LATEST_RECOVERY, "{}: publishing again took {:?}", self.fault, self.recovery);
        let odd: Vec<_> = self.sent.iter().filter(|sent| !matches!(sent.status, Some(200 | 503))).collect();
        assert!(odd.is_empty(), "{}: neither 200 nor 503: {odd:?}", self.fault);
        let confirmed = self.sent.iter().filter(|sent| sent.status == Some(200)).count();
        assert!(confirmed > 0, "{}: nothing was confirmed at all", self.fault);
    }
}

/// How long it takes until a webhook is confirmed.
pub(crate) async fn recovery(forwarder: &Forwarder) -> Duration {
    let began = Instant::now();
    let mut connection = None;
    while send(forwarder.addr, &mut connection, usize::MAX).await.status != Some(200) {
        assert!(began.elapsed() < Duration::from_secs(20), "publishing never works again:\n{}", forwarder.log());
    }
    began.elapsed()
}

/// Takes everything off a queue: the numbers found, and how many were there more than once.
pub(crate) async fn drain(vhost: &Vhost, queue: &str) -> (HashSet<usize>, usize) {
    let mut config = QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap());
    config.name = queue.to_owned();
    config.declare = false;
    let mut subscriber = Subscriber::open(&config, 500).unwrap();
    let (mut found, mut copies) = (HashSet::new(), 0);
    let mut silence = Duration::from_secs(15);
    while let Ok(received) = tokio::time::timeout(silence, subscriber.next()).await {
        let Received::Delivery(delivery) = received else { panic!("nobody has crashed holding an event") };
        let number = std::str::from_utf8(&delivery.event().body).unwrap().parse().unwrap();
        copies += usize::from(!found.insert(number) && number != usize::MAX);
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
        silence = SILENCE;
    }
    in_time("the close", subscriber.close()).await;
    (found, copies)
}
