//! What became of webhooks, told once a minute: who asks where his events are finds them in one of these numbers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use webhook_queue::{Counts, Publish};

use super::Host;
use crate::answer::Answered;

/// How often the numbers are told. Where nothing has happened nothing is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What has been told already.
#[derive(Default)]
pub(super) struct Summary {
    answered: Answered,
    queues: Vec<(String, Counts)>,
}

impl Summary {
    /// Tells until it is dropped.
    pub(super) async fn keep_telling<P: Publish>(&mut self, host: &Arc<Host<P>>) {
        loop {
            sleep(TELL_EVERY).await;
            self.tell(host);
        }
    }

    /// Tells what has happened since it was told the last time.
    pub(super) fn tell<P: Publish>(&mut self, host: &Host<P>) {
        let (answered, queues) = (host.forwarder.answered(), host.forwarder.counts());
        let Answered { taken, refused, failed, shed } = answered.since(&self.answered);
        if answered != self.answered {
            tracing::info!(
                webhooks.taken = taken,
                webhooks.refused = refused,
                webhooks.failed = failed,
                webhooks.shed = shed,
                "webhooks since the last such line: {taken} taken, {refused} refused, {failed} answered 503, {shed} of \
                 them for want of room"
            );
        }
        for (place, (name, counts)) in queues.iter().enumerate() {
            let earlier = self.queues.get(place).map(|(_, counts)| *counts).unwrap_or_default();
            if *counts != earlier {
                tell_queue(name, &counts.since(&earlier));
            }
        }
        (self.answered, self.queues) = (answered, queues);
    }
}

fn tell_queue(name: &str, counts: &Counts) {
    tracing::info!(
        queue = name,
        events.confirmed = counts.confirmed,
        events.unroutable = counts.unroutable,
        events.refused = counts.refused,
        events.blocked = counts.blocked,
        events.timed_out = counts.timed_out,
        events.unreachable = counts.unreachable,
        events.too_large = counts.too_large,
        events.stepped_over = counts.stepped_over,
        "events on {name} since the last such line: {} confirmed",
        counts.confirmed
    );
}
