//! Moving what can be moved to another queue.

use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::pass::{Pass, Window};
use super::store::{self, Store, StoreError};
use super::subscribe::Subscriber;
use crate::drain::{Progress, concerns_the_event};
use crate::pace::Pace;
use crate::publish::{Publish, PublishError, Publisher};
use crate::subscribe::Subscribe;
use crate::{BoxError, Delivery, Received, Settlement};

/// How many events are in flight at a time.
const AT_ONCE: usize = 32;
const PREFETCH: u16 = 128;
/// How often the file is asked whether it is empty, while nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the first queue has for one event.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a drain that was told to stop waits for what is on its way: longer than a publish, and the disk may be full.
const FINISH_TIMEOUT: Duration = Duration::from_secs(7);

/// One pass, with everything that stays.
pub(crate) async fn drain_once(path: &Path, publisher: &Publisher) -> Progress {
    let limit = publisher.max_body_bytes();
    let pass = Pass::new(limit);
    let Progress { moved, left, end } = drain(path, publisher, &pass, &CancellationToken::new()).await;
    let rest = rest(path, &pass).await;
    let (mut events, mut why) = left.map_or((0, None), |(events, why)| (events, Some(why)));
    if let Ok(Rest { too_large: too_large @ 1.., .. }) = rest {
        events += too_large;
        why.get_or_insert_with(|| PublishError::TooLarge { limit }.into());
    }
    Progress { moved, left: why.map(|why| (events, why)), end: end.and(rest.map(|_| ())) }
}

/// Publishes events to another queue, and acks each here once that has confirmed, until the pass has come to its end. Told
/// to stop, it finishes what is on its way.
pub(crate) async fn drain(path: &Path, publisher: &Publisher, pass: &Pass, stop: &CancellationToken) -> Progress {
    let opened = store::checked_path(path).and_then(|path| Ok((Subscriber::for_pass(&path, PREFETCH, pass)?, path)));
    let (mut subscriber, path) = match opened {
        Ok(opened) => opened,
        Err(error) => return Progress { moved: 0, left: None, end: Err(error.into()) },
    };
    let mut moving = Moving::default();
    let ended = tokio::select! {
        ended = run(&mut subscriber, &path, publisher, pass, &mut moving) => ended,
        () = stop.cancelled() => Ok(()),
    };
    tokio::select! {
        () = moving.finish(pass) => {}
        () = async { stop.cancelled().await; sleep(FINISH_TIMEOUT).await } => moving.give_up().await,
    }
    subscriber.close().await;
    let Moving { moved, why, failure, .. } = moving;
    let failure = ended.err().or(failure);
    let left = why.map(|why| (pass.left(), why));
    if failure.is_some() {
        // What was on its way comes again.
        pass.start_over();
    }
    Progress { moved, left, end: failure.map_or(Ok(()), Err) }
}

async fn run(
    subscriber: &mut Subscriber,
    path: &Path,
    publisher: &Publisher,
    pass: &Pass,
    moving: &mut Moving,
) -> Result<(), BoxError> {
    let mut pace = Pace::new();
    while moving.failure.is_none() {
        match timeout(LOOK_EVERY, subscriber.next()).await {
            Ok(Received::Delivery(delivery)) => {
                pace.keep(1).await;
                moving.begin(publisher, delivery, pass).await;
            }
            // Held by a drain that was killed; nothing here runs an app's code, so there is nobody to protect. They come
            // as others do.
            Ok(Received::Suspects) => {
                while let Some(delivery) = subscriber.next_suspect().await {
                    // One that somebody else holds by now is waited for.
                    let _ = delivery.settle(Settlement::Retry { after: Duration::ZERO }).await;
                }
            }
            Err(_) => {
                moving.finish(pass).await;
                let rest = rest(path, pass).await?;
                if rest.is_overlooked() {
                    pass.start_over();
                    subscriber.look_again();
                } else if rest.is_nothing() {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Events on their way.
#[derive(Default)]
struct Moving {
    tasks: JoinSet<Outcome>,
    moved: u64,
    /// Why the first of those that are left behind is.
    why: Option<BoxError>,
    failure: Option<BoxError>,
}

enum Outcome {
    Moved,
    /// It is the event's own fault, as far as can be told.
    Left(BoxError),
    Failed(BoxError),
}

impl Moving {
    async fn begin(&mut self, publisher: &Publisher, delivery: Delivery, pass: &Pass) {
        if self.tasks.len() >= AT_ONCE {
            self.end_one(pass).await;
        }
        let publisher = publisher.clone();
        self.tasks.spawn(async move { move_one(&publisher, delivery).await });
    }

    async fn end_one(&mut self, pass: &Pass) -> bool {
        let Some(ended) = self.tasks.join_next().await else { return false };
        match ended.unwrap_or_else(|error| Outcome::Failed(error.into())) {
            Outcome::Moved => self.moved += 1,
            Outcome::Left(why) => {
                pass.leave_one();
                self.why.get_or_insert(why);
            }
            Outcome::Failed(error) => _ = self.failure.get_or_insert(error),
        }
        true
    }

    async fn finish(&mut self, pass: &Pass) {
        while self.end_one(pass).await {}
    }

    /// What was confirmed and could not be acked comes again, as a copy.
    async fn give_up(&mut self) {
        let events = self.tasks.len();
        tracing::warn!(events, "the queue's file did not answer; {events} events may be moved once more");
        self.tasks.shutdown().await;
    }
}

/// An event that stays is dropped, which hands it back.
async fn move_one(publisher: &Publisher, delivery: Delivery) -> Outcome {
    match publisher.publish(delivery.event(), Instant::now() + PUBLISH_TIMEOUT).await {
        Ok(()) => delivery
            .settle(Settlement::Ack)
            .await
            .map_or_else(|error| Outcome::Failed(error.into()), |()| Outcome::Moved),
        Err(error) if concerns_the_event(&error) => Outcome::Left(error.into()),
        Err(error) => Outcome::Failed(error.into()),
    }
}

/// What is in the file, seen from a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// What it has not come to yet, and what somebody holds.
    ahead: usize,
    /// What it has passed and not left behind knowingly.
    overlooked: usize,
    /// What is too large for the other queue.
    pub(crate) too_large: usize,
}

impl Rest {
    /// Whether there is nothing for the pass to do.
    pub(crate) fn is_nothing(&self) -> bool {
        self.ahead == 0 && self.overlooked == 0
    }

    /// Whether only something is there to do that was not seen when the pass came by: the clocks of those who publish
    /// need not agree.
    fn is_overlooked(&self) -> bool {
        self.ahead == 0 && self.overlooked > 0
    }
}

/// What is still in the file, as far as can be seen.
pub(crate) async fn rest(path: &Path, pass: &Pass) -> Result<Rest, BoxError> {
    let path = store::checked_path(path)?;
    let (window, left) = (pass.window(), pass.left());
    let counted = tokio::task::spawn_blocking(move || match Store::read(&path) {
        Ok(store) => count(&store, window),
        Err(StoreError::Missing) => Ok([0; 3]),
        Err(error) => Err(error),
    });
    let [ahead, passed, too_large] = counted.await??;
    Ok(Rest { ahead, overlooked: passed.saturating_sub(left), too_large })
}

/// How many events a pass has before it and behind it, and how many it does not take.
fn count(store: &Store, window: Window) -> Result<[usize; 3], StoreError> {
    let count = "SELECT count(*) FILTER (WHERE fits AND ahead), count(*) FILTER (WHERE fits AND NOT ahead),
                        count(*) FILTER (WHERE NOT fits)
                 FROM (SELECT bytes <= ?3 AS fits, (lease IS NOT NULL OR (due, seq) > (?1, ?2)) AS ahead
                       FROM deliveries)";
    let window = [window.after.0, window.after.1, window.most_bytes];
    let counts: [i64; 3] =
        store.connection().query_row(count, window, |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    Ok(counts.map(|count| usize::try_from(count).unwrap_or(0)))
}
