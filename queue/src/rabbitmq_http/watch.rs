//! What is known of the queue without asking: by the last publish, and by a look every few seconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::{ALARMS, Alarms, CallError, Client};
use crate::chain::chain;
use crate::moment::Moment;
use crate::publish::{PublishError, Readiness};

/// How long to wait between two looks.
const INTERVAL: Duration = Duration::from_secs(3);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// An alarm that was seen longer ago is not known any more: the process was frozen, or nobody answered since.
const KNOWN_FOR: Duration = Duration::from_secs(6);
/// What ends so late after its deadline was frozen in between, and has learned nothing.
const FROZEN: Duration = Duration::from_secs(1);

/// What is known.
#[derive(Debug)]
pub(super) struct Known(Mutex<Facts>);

#[derive(Debug)]
struct Facts {
    /// The last word of the queue, or why there was none.
    word: Result<(), String>,
    /// When that was.
    heard: Moment,
    unroutable: bool,
    alarm: Option<String>,
    /// When it was last asked for alarms, and answered.
    looked: Moment,
}

impl Known {
    pub(super) fn nothing() -> Known {
        let now = Moment::now();
        let word = Err("connecting".to_owned());
        Known(Mutex::new(Facts { word, heard: now, unroutable: false, alarm: None, looked: now }))
    }

    /// The alarm that is in effect, as far as is known.
    pub(super) fn alarm(&self) -> Option<String> {
        let facts = self.facts();
        facts.alarm.clone().filter(|_| facts.looked.elapsed() <= KNOWN_FOR)
    }

    pub(super) fn readiness(&self) -> Readiness {
        if let Some(alarm) = self.alarm() {
            return Readiness::NotReady(format!("the broker accepts nothing at the moment: {alarm}"));
        }
        let facts = self.facts();
        match &facts.word {
            Err(reason) => Readiness::NotReady(reason.clone()),
            Ok(()) if facts.unroutable => Readiness::NotReady("the last event had no queue to go to".to_owned()),
            Ok(()) => Readiness::Ready,
        }
    }

    /// Learns from the end of a publish.
    pub(super) fn note(&self, outcome: &Result<(), PublishError>) {
        let mut facts = self.facts();
        facts.word = match outcome {
            Ok(()) | Err(PublishError::Unroutable(_)) => {
                facts.unroutable = outcome.is_err();
                Ok(())
            }
            Err(error @ (PublishError::Unreachable(_) | PublishError::TimedOut)) => Err(chain(error)),
            Err(_) => return,
        };
        facts.heard = Moment::now();
    }

    /// Learns from a look that began then, unless a publish has told more since.
    fn learn(&self, word: Result<(), String>, began: Moment) {
        let mut facts = self.facts();
        let (age, frozen) = (began.elapsed(), LOOK_TIMEOUT + FROZEN);
        if facts.heard.elapsed() < age || (word.is_err() && age > frozen) {
            return;
        }
        if facts.word != word {
            match &word {
                Ok(()) => tracing::info!("the queue is reached through the management API"),
                Err(reason) => tracing::warn!(reason, "the queue cannot be published to: {reason}"),
            }
        }
        (facts.word, facts.heard) = (word, Moment::now());
    }

    fn learn_alarm(&self, alarm: Option<String>, began: Moment) {
        let mut facts = self.facts();
        if facts.alarm != alarm {
            match &alarm {
                None => tracing::info!("the broker's alarm is over"),
                Some(reason) => tracing::warn!(reason, "the broker accepts nothing at the moment: {reason}"),
            }
        }
        (facts.alarm, facts.looked) = (alarm, began);
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at one exchange, and at the broker's alarms, until told to stop.
pub(super) struct Watch {
    /// One of its own: it must not wait behind publishes, nor they for it.
    pub(super) client: Client,
    pub(super) vhost: String,
    pub(super) exchange: String,
    pub(super) known: Arc<Known>,
}

impl Watch {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut tells_alarms = true;
        let looking = async {
            loop {
                self.look(&mut tells_alarms).await;
                tokio::time::sleep(INTERVAL).await;
            }
        };
        stop.run_until_cancelled(looking).await;
    }

    async fn look(&self, tells_alarms: &mut bool) {
        let (began, deadline) = (Moment::now(), Instant::now() + LOOK_TIMEOUT);
        let Watch { client, vhost, exchange, known } = self;
        let ask = async |segments: &[&str]| client.call(&Method::GET, segments, Bytes::new(), deadline).await;
        let word = match ask(&["exchanges", vhost, exchange]).await {
            // LavinMQ shows an exchange to those only who may configure it.
            Ok(answer) if matches!(answer.status, 200 | 403) => Ok(()),
            Ok(answer) if answer.status == 404 => Err(format!("there is no exchange '{exchange}'")),
            Ok(answer) => Err(answer.explain()),
            Err(CallError::TimedOut) => Err(format!("no answer within {LOOK_TIMEOUT:?}")),
            Err(CallError::Broken(error)) => Err(chain(&*error)),
        };
        let heard = word.is_ok();
        known.learn(word, began);
        if !heard || !*tells_alarms {
            return;
        }
        if let Ok(answer) = ask(&ALARMS).await {
            match Alarms::read(&answer) {
                Alarms::None => known.learn_alarm(None, began),
                Alarms::InEffect(what) => known.learn_alarm(Some(what), began),
                Alarms::NotTold if answer.status < 500 => {
                    *tells_alarms = false;
                    tracing::info!(
                        "the broker does not tell this user of memory and disk alarms: nobody waits for them"
                    );
                }
                Alarms::NotTold => {}
            }
        }
    }
}
