//! The rows, and what each must show.

use std::time::{Duration, Instant};

use super::forwarder::Forwarder;
use super::found::Found;
use super::load::{Sent, send};
use super::{LATEST_ANSWER, LATEST_RECOVERY, PROBE};

const COLUMNS: [&str; 9] =
    ["fault", "sent", "200", "503", "unanswered", "lost", "copies", "slowest answer", "works again after"];

/// One fault, measured.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) sent: Vec<Sent>,
    pub(crate) found: Found,
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
            self.found.copies.to_string(),
            format!("{} ms", self.slowest().as_millis()),
            format!("{} ms", self.recovery.as_millis()),
        ];
        testbed::row("Webhooks through faults", &COLUMNS, &cells);
    }

    fn lost(&self) -> usize {
        self.sent.iter().filter(|sent| sent.status == Some(200) && !self.found.has(sent)).count()
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
    while send(forwarder.addr, &mut connection, PROBE).await.status != Some(200) {
        assert!(began.elapsed() < Duration::from_secs(20), "publishing never works again:\n{}", forwarder.log());
    }
    began.elapsed()
}
