//! One delivery: find the handler, run it, decide how the delivery ends.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};
use tracing::Instrument;
use webhook_queue::{BoxError, DeadLetter, Reason, Settlement};

use crate::call::{Call, HandlerService};
use crate::chain::{self, Panicked};
use crate::outcome::Outcome;
use crate::policy::{self, Decision};
use crate::router::{Route, Routes};

/// How long one run of a handler may take, unless the app says otherwise. Well below the half hour after which RabbitMQ
/// takes a delivery away.
pub(crate) const DEFAULT_HANDLER_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// `RETRY_MAX_AGE`, where it is not set.
pub(crate) const DEFAULT_RETRY_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What becomes of an event for which no handler matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unhandled {
    /// It is dead-lettered with the reason `no-handler`, so that it can be replayed once there is one.
    #[default]
    DeadLetter,
    /// It is acknowledged, and so forgotten.
    Ack,
}

/// When no handler is begun any more.
#[derive(Clone, Copy)]
pub(crate) enum Closing<'a> {
    /// Once this is cancelled.
    Drain(&'a CancellationToken),
    /// From one moment on, and what was begun is interrupted at the other.
    #[cfg_attr(not(feature = "lambda"), expect(dead_code, reason = "only a function has invocations"))]
    Invocation { begin_by: Instant, end: Instant },
}

impl Closing<'_> {
    async fn closed(self) {
        match self {
            Closing::Drain(drain) => drain.cancelled().await,
            Closing::Invocation { begin_by, .. } => sleep_until(begin_by).await,
        }
    }

    /// On a busy machine timers are late, and this is not.
    fn is_closed(self) -> bool {
        match self {
            Closing::Drain(drain) => drain.is_cancelled(),
            Closing::Invocation { begin_by, .. } => Instant::now() >= begin_by,
        }
    }

    /// How long a handler that begins now may take.
    fn left(self) -> Duration {
        match self {
            Closing::Drain(_) => Duration::MAX,
            Closing::Invocation { end, .. } => end.saturating_duration_since(Instant::now()),
        }
    }
}

/// Everything that decides how a delivery ends.
pub(crate) struct Dispatcher {
    pub(crate) routes: Routes,
    pub(crate) unhandled: Unhandled,
    pub(crate) retry_max_age: Duration,
    pub(crate) handler_timeout: Duration,
}

impl Dispatcher {
    /// Handles one delivery. There is no error to return: whatever happens ends in a settlement.
    ///
    /// `age` tells how long ago a consumer first received the event, now.
    pub(crate) async fn dispatch(
        &self,
        call: Call,
        crashes: u32,
        age: impl Fn() -> Duration,
        closing: Closing<'_>,
    ) -> Settlement {
        let route = self.routes.find(call.event());
        let handler = route.map(|route| route.pattern.as_str());
        let span = tracing::info_span!(
            "delivery",
            event.id = call.event().id,
            event.source = call.event().source,
            event.r#type = call.event().event_type,
            delivery.attempt = call.attempt(),
            handler,
        );
        self.settlement(route, call, crashes, age, closing).instrument(span).await
    }

    async fn settlement(
        &self,
        route: Option<&Route>,
        call: Call,
        crashes: u32,
        age: impl Fn() -> Duration,
        closing: Closing<'_>,
    ) -> Settlement {
        if policy::is_killer(crashes) {
            let error = format!("{crashes} processes died while they handled this event");
            return dead_letter(Reason::Crashed, &error.into(), route.map(|route| route.pattern.as_str()));
        }
        let Some(route) = route else { return self.no_handler() };
        let attempt = call.attempt();
        let conclude =
            |outcome| settle(policy::decide(outcome, attempt, age(), self.retry_max_age), route.pattern.as_str());
        let whole = async {
            let outcome = run(route.service.clone(), call, self.handler_timeout, closing).await;
            outcome.map_or(Settlement::Release, conclude)
        };
        // What panicked, the handler or the printing of its error, is dropped and never touched again. What it shares with
        // others (a mutex in the state, say) is the app's to keep sound.
        match AssertUnwindSafe(whole).catch_unwind().await {
            Ok(settlement) => settlement,
            Err(panic) => conclude(Outcome::failed(Panicked::new(panic))),
        }
    }

    fn no_handler(&self) -> Settlement {
        match self.unhandled {
            Unhandled::Ack => {
                tracing::debug!("no handler matches; acknowledged as the app wishes");
                Settlement::Ack
            }
            Unhandled::DeadLetter => dead_letter(Reason::NoHandler, &"no handler matches".into(), None),
        }
    }
}

/// Runs a handler with its layers. `None` means that it was not begun, because of what closes or because its layers did not
/// let it have its turn in time: no delivery may be held for ever.
async fn run(mut service: HandlerService, call: Call, limit: Duration, closing: Closing<'_>) -> Option<Outcome> {
    let ready = tokio::select! {
        biased;
        () = closing.closed() => return None,
        ready = timeout(limit, service.ready()) => ready,
    };
    let Ok(ready) = ready else {
        tracing::warn!("the handler's layers had no room for too long; the event is handed back");
        return None;
    };
    let left = closing.left();
    let ran = match ready {
        Ok(_) if closing.is_closed() => return None,
        Ok(service) => timeout(limit.min(left), service.call(call)).await,
        Err(error) => return Some(Outcome::failed(error)),
    };
    Some(match ran {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Outcome::failed(error),
        Err(_) if left < limit => Outcome::failed(CutOff),
        Err(_) => Outcome::failed(TimedOut(limit)),
    })
}

/// Turns the decision into a settlement, and logs what is worth a line, once.
fn settle(decision: Decision, handler: &str) -> Settlement {
    match decision {
        Decision::Ack => {
            tracing::debug!("handled");
            Settlement::Ack
        }
        Decision::Snooze { after } => {
            tracing::debug!(delivery.after_ms = millis(after), "snoozed");
            Settlement::Retry { after }
        }
        Decision::Retry { after, error } => {
            let error = chain::for_log(error.as_ref());
            tracing::warn!(error, delivery.after_ms = millis(after), "the handler failed; the event comes again");
            Settlement::Retry { after }
        }
        Decision::DeadLetter { reason, error } => dead_letter(reason, &error, Some(handler)),
    }
}

fn dead_letter(reason: Reason, error: &BoxError, handler: Option<&str>) -> Settlement {
    let logged = match reason {
        Reason::Undecodable => chain::first_for_log(error.as_ref()),
        _ => chain::for_log(error.as_ref()),
    };
    tracing::error!(error = logged, dead.reason = reason.as_str(), "the event is dead-lettered");
    let handler = handler.map(str::to_owned);
    Settlement::DeadLetter(DeadLetter { reason, error: chain::in_full(error.as_ref()), handler })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A handler took too long.
#[derive(Debug, thiserror::Error)]
#[error("the handler did not finish within {0:?}")]
struct TimedOut(Duration);

/// A handler took longer than the function that it runs in.
#[derive(Debug, thiserror::Error)]
#[error("the handler did not finish before the invocation's time was up")]
struct CutOff;
