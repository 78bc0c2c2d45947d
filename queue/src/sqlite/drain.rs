//! Moving everything to another queue.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::store::{self, Store, StoreError};
use super::subscribe::Subscriber;
use crate::config::QueueConfig;
use crate::drain::Progress;
use crate::publish::{Publish, PublishError, Publisher};
use crate::subscribe::Subscribe;
use crate::{BoxError, Delivery, Received, Settlement};

/// How many events are in flight at a time.
const AT_ONCE: usize = 32;
const PREFETCH: u16 = 128;
/// With so many events in hand that cannot be moved, somebody has to look.
const MOST_STUCK: usize = 64;
/// How often the file is asked whether it is empty, while nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the first queue has for one event.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes every event to another queue, and acks it here once that has confirmed. Told to stop, it finishes what is on
/// its way.
pub(crate) async fn drain(
    config: &QueueConfig,
    path: &Path,
    publisher: &Publisher,
    stop: &CancellationToken,
) -> Progress {
    let opened = store::checked_path(path).and_then(|path| Ok((Subscriber::open(config, &path, PREFETCH)?, path)));
    let (mut subscriber, path) = match opened {
        Ok(opened) => opened,
        Err(error) => return Progress { moved: 0, end: Err(error.into()) },
    };
    let mut moving = Moving::default();
    let end = tokio::select! {
        end = run(&mut subscriber, &path, publisher, &mut moving) => end,
        () = stop.cancelled() => Ok(()),
    };
    moving.finish().await;
    let stuck = moving.stuck.len();
    moving.stuck.clear();
    subscriber.close().await;
    let failure = moving.failure.or_else(|| Some(crate::drain::cannot_be_moved(stuck, &*moving.why?)));
    Progress { moved: moving.moved, end: end.and(failure.map_or(Ok(()), Err)) }
}

async fn run(
    subscriber: &mut Subscriber,
    path: &Path,
    publisher: &Publisher,
    moving: &mut Moving,
) -> Result<(), BoxError> {
    while moving.failure.is_none() && moving.stuck.len() < MOST_STUCK {
        match timeout(LOOK_EVERY, subscriber.next()).await {
            Ok(Received::Delivery(delivery)) => moving.begin(publisher, delivery).await,
            // Held by a drain that was killed; nothing here runs an app's code, so there is nobody to protect.
            Ok(Received::Suspects) => {
                while let Some(delivery) = subscriber.next_suspect().await {
                    moving.begin(publisher, delivery).await;
                }
            }
            Err(_) => {
                moving.finish().await;
                if waiting(path.to_owned()).await? <= moving.stuck.len() {
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
    /// Events that the other queue cannot carry. They are held to the end, so that the others come.
    stuck: Vec<Delivery>,
    why: Option<BoxError>,
    failure: Option<BoxError>,
}

enum Outcome {
    Moved,
    Stuck(Delivery, BoxError),
    Failed(BoxError),
}

impl Moving {
    async fn begin(&mut self, publisher: &Publisher, delivery: Delivery) {
        if self.tasks.len() >= AT_ONCE {
            self.end_one().await;
        }
        let publisher = publisher.clone();
        self.tasks.spawn(async move { move_one(&publisher, delivery).await });
    }

    async fn end_one(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next().await else { return false };
        match ended.unwrap_or_else(|error| Outcome::Failed(error.into())) {
            Outcome::Moved => self.moved += 1,
            Outcome::Stuck(delivery, why) => {
                self.stuck.push(delivery);
                self.why.get_or_insert(why);
            }
            Outcome::Failed(error) => _ = self.failure.get_or_insert(error),
        }
        true
    }

    async fn finish(&mut self) {
        while self.end_one().await {}
    }
}

async fn move_one(publisher: &Publisher, delivery: Delivery) -> Outcome {
    match publisher.publish(delivery.event(), Instant::now() + PUBLISH_TIMEOUT).await {
        Ok(()) => delivery
            .settle(Settlement::Ack)
            .await
            .map_or_else(|error| Outcome::Failed(error.into()), |()| Outcome::Moved),
        Err(error @ PublishError::TooLarge { .. }) => Outcome::Stuck(delivery, error.into()),
        Err(error) => {
            // Dropped it is handed back, too.
            drop(delivery);
            Outcome::Failed(error.into())
        }
    }
}

/// Whether nothing is in the file, as far as can be seen.
pub(crate) async fn is_empty(path: &Path) -> bool {
    match store::checked_path(path) {
        Ok(path) => waiting(path).await.is_ok_and(|events| events == 0),
        Err(_) => false,
    }
}

/// How many events wait or are held.
async fn waiting(path: PathBuf) -> Result<usize, BoxError> {
    let counted = tokio::task::spawn_blocking(move || match Store::read(&path) {
        Ok(store) => {
            let count = "SELECT count(*) FROM deliveries";
            Ok(store.connection().query_row(count, [], |row| row.get::<_, i64>(0))?)
        }
        Err(StoreError::Missing) => Ok(0),
        Err(error) => Err(error),
    });
    Ok(usize::try_from(counted.await??)?)
}
