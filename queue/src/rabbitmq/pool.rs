//! Confirmed publishing over whatever connection is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::link::{Link, LinkError, LinkState, ProbeError};
use super::transport::{DialError, Dialer};
use super::wire::Message;
use crate::moment::Moment;
use crate::publish::{PublishError, Readiness};

/// How often the broker is asked whether it is still there, while nobody publishes.
const PROBE_INTERVAL: Duration = Duration::from_secs(4);
/// How long to wait before connecting again: the first time not at all, then ever longer.
const RECONNECT_STEPS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// How long the outcome of an attempt to connect is the last word: the next one follows about as soon.
const ATTEMPT_HOLDS: Duration = Duration::from_secs(1);
/// How often a process that is connecting looks whether it was frozen meanwhile.
const TICK: Duration = Duration::from_millis(250);
/// A tick that is so late was not missed by a busy machine.
const FROZEN: Duration = Duration::from_secs(1);

/// Publishes over one connection, which it replaces whenever it breaks.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    current: watch::Receiver<Current>,
    unroutable: AtomicBool,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// The connection of the moment.
#[derive(Clone, Debug)]
enum Current {
    /// Not connected, and why.
    Down(Arc<str>),
    /// Not connected: an attempt has failed, or the broker said no.
    Failed { reason: Arc<str>, refused: bool, at: Moment },
    Up {
        link: Arc<Link>,
        /// What the last probe found wrong.
        problem: Option<Arc<str>>,
    },
}

impl Pool {
    /// Starts to connect. `name` is what the broker shows; `probe` is the exchange that readiness depends on.
    pub(super) fn open(dialer: Dialer, name: String, probe: Option<String>) -> Pool {
        let (sender, current) = watch::channel(Current::Down("connecting".into()));
        let stop = CancellationToken::new();
        tokio::spawn(keep_connected(dialer, name, probe, sender, stop.clone()));
        let shared =
            Shared { current, unroutable: AtomicBool::new(false), _stop_when_dropped: stop.clone().drop_guard(), stop };
        Pool { shared: Arc::new(shared) }
    }

    /// Publishes and waits for the confirm, by `deadline`. If the connection breaks in between, the message is
    /// published once more, as the same message, over the next one.
    pub(super) async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &Message,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        self.publish_as_one(exchange, routing_key, message, deadline, true).await
    }

    /// As [`publish`](Pool::publish). Unless this `is_last`, it gives up when an attempt to connect has just failed.
    pub(super) async fn publish_as_one(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &Message,
        deadline: Instant,
        is_last: bool,
    ) -> Result<(), PublishError> {
        if deadline <= Instant::now() {
            return Err(PublishError::TimedOut);
        }
        let mut broken_before = false;
        let outcome = loop {
            let link = self.link(deadline, is_last).await?;
            let published = tokio::select! {
                biased;
                published = link.publish(exchange, routing_key, message, deadline) => published,
                // A connection that has just been made gets all the time that is left: its broker may be slow.
                silent = link.falls_silent(), if !broken_before => Err(silent),
            };
            let error = match published {
                Ok(()) => break Ok(()),
                Err(LinkError::Answer(error)) => break Err(error),
                Err(LinkError::Broken(error)) => error,
            };
            // That also frees what is queued for it.
            link.cut();
            if broken_before {
                break Err(PublishError::Unreachable(error));
            }
            broken_before = true;
        };
        match outcome {
            Ok(()) => self.shared.unroutable.store(false, Ordering::Release),
            Err(PublishError::Unroutable(_)) => self.shared.unroutable.store(true, Ordering::Release),
            Err(_) => {}
        }
        outcome
    }

    /// The live connection, waited for until `deadline`, or until the broker refuses to be connected to; unless this
    /// `is_last`, until any attempt has failed.
    async fn link(&self, deadline: Instant, is_last: bool) -> Result<Arc<Link>, PublishError> {
        let mut current = self.shared.current.clone();
        if let Current::Up { link, .. } = &*current.borrow()
            && !link.is_trusted()
        {
            link.cut();
        }
        let known = |current: &Current| match current {
            Current::Up { link, .. } => !matches!(*link.state().borrow(), LinkState::Closed(_)) && !link.is_cut(),
            Current::Failed { refused, at, .. } => (*refused || !is_last) && at.elapsed() < ATTEMPT_HOLDS,
            Current::Down(_) => false,
        };
        let found = match timeout_at(deadline, current.wait_for(known)).await {
            Ok(Ok(current)) => current.clone(),
            Ok(Err(_)) => return Err(PublishError::Unreachable("the publisher was closed".into())),
            Err(_) => self.shared.current.borrow().clone(),
        };
        match found {
            Current::Up { link, .. } if link.is_cut() => Err(PublishError::Unreachable("the connection broke".into())),
            Current::Up { link, .. } => Ok(link),
            Current::Failed { reason, refused: true, .. } => Err(PublishError::Refused(reason.to_string())),
            Current::Down(reason) | Current::Failed { reason, .. } => {
                Err(PublishError::Unreachable(reason.to_string().into()))
            }
        }
    }

    pub(super) fn readiness(&self) -> Readiness {
        let reason = match &*self.shared.current.borrow() {
            Current::Down(reason) | Current::Failed { reason, .. } => Some(reason.to_string()),
            Current::Up { link, problem } => match &*link.state().borrow() {
                LinkState::Blocked(reason) => Some(format!("the broker accepts nothing at the moment: {reason}")),
                LinkState::Closed(reason) => Some(reason.clone()),
                LinkState::Open => problem.as_ref().map(ToString::to_string),
            },
        };
        match reason {
            Some(reason) => Readiness::NotReady(reason),
            None if self.shared.unroutable.load(Ordering::Acquire) => {
                Readiness::NotReady("the last event had no queue to go to".to_owned())
            }
            None => Readiness::Ready,
        }
    }

    pub(super) async fn close(&self) {
        self.shared.stop.cancel();
        let mut current = self.shared.current.clone();
        // The keeper drops its sender when it has closed the connection.
        while current.changed().await.is_ok() {}
    }
}

/// Keeps one connection open until told to stop.
async fn keep_connected(
    dialer: Dialer,
    name: String,
    probe: Option<String>,
    current: watch::Sender<Current>,
    stop: CancellationToken,
) {
    let mut failures = 0;
    loop {
        let dialed = tokio::select! {
            dialed = async {
                tokio::time::sleep(pause_before(failures)).await;
                Link::open(&dialer, &name).await
            } => dialed,
            // Whatever was under way when the process was frozen would be waited for in vain.
            () = frozen() => continue,
            () = stop.cancelled() => return,
        };
        let down = match dialed {
            Err(error) => {
                failures += 1;
                let refused = matches!(error, DialError::Refused(_));
                Current::Failed { reason: error.to_string().into(), refused, at: Moment::now() }
            }
            Ok(link) => {
                let link = Arc::new(link);
                if failures > 0 {
                    tracing::info!(queue.peer = ?dialer, "connected to the queue again");
                }
                failures = 0;
                current.send_replace(Current::Up { link: Arc::clone(&link), problem: None });
                let ended = tokio::select! {
                    // A question may be waiting for an answer that never comes: the end is not for it to notice.
                    reason = link.ended() => Some(reason),
                    reason = keep_probing(&link, probe.as_deref(), &current) => Some(reason),
                    () = stop.cancelled() => None,
                };
                let Some(reason) = ended else {
                    link.close().await;
                    return;
                };
                link.cut();
                Current::Down(reason.into())
            }
        };
        if failures <= 1
            && let Current::Down(reason) | Current::Failed { reason, .. } = &down
        {
            tracing::warn!(queue.peer = ?dialer, %reason, "the queue cannot be reached; connecting again");
        }
        current.send_replace(down);
    }
}

/// Returns after the process was frozen for a while and goes on.
async fn frozen() {
    loop {
        let before = Moment::now();
        tokio::time::sleep(TICK).await;
        if before.elapsed() >= TICK + FROZEN {
            return;
        }
    }
}

/// Asks again and again whether what is published to is there. Returns when the broker does not answer, and says how.
async fn keep_probing(link: &Arc<Link>, probe: Option<&str>, current: &watch::Sender<Current>) -> String {
    let Some(exchange) = probe else { return std::future::pending().await };
    let state = link.state();
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        if matches!(*state.borrow(), LinkState::Blocked(_)) {
            // The broker answers nothing at all on a connection that it has blocked.
            continue;
        }
        let problem = match link.probe(exchange).await {
            Ok(()) => None,
            Err(ProbeError::Missing(reason)) => Some(reason),
            Err(ProbeError::Dead(_)) if matches!(*state.borrow(), LinkState::Blocked(_)) => None,
            Err(ProbeError::Dead(reason)) => return reason,
        };
        current.send_replace(Current::Up { link: Arc::clone(link), problem: problem.map(Into::into) });
    }
}

/// The pause grows with each failure; its jitter keeps many processes from knocking at a broker all at once.
fn pause_before(failures: usize) -> Duration {
    let step = RECONNECT_STEPS[failures.min(RECONNECT_STEPS.len() - 1)];
    step.mul_f64(0.5 + jitter() / 2.0)
}

/// A number from 0 to 1, different in each process and at each call.
pub(super) fn jitter() -> f64 {
    let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
    f64::from(u32::try_from(random & u64::from(u32::MAX)).unwrap_or(0)) / f64::from(u32::MAX)
}
