//! RabbitMQ, or the way to it, fails while handlers run.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testbed::{Broker, Proxy, eventually};
use tokio::time::{Instant, sleep};
use webhook_consumer::QueueState;
use webhook_queue::{Publish, PublishError};

use crate::common::{MAIN, SOON};
use crate::of;
use crate::process::Attended;
use crate::stage::{Account, Load, Stage};

/// The counts, in the checks and with `WEBHOOK_QUEUE_LONG`.
const EVENTS: (usize, usize) = (300, 3000);
/// Concurrency and prefetch, where they do not matter.
const BUSY: (usize, usize) = (8, 40);
/// How long the broker leaves a delivery with a handler, where that is the fault.
pub(crate) const ACK_TIMEOUT_MS: u32 = 4000;
/// How long a fault lasts that has no sign of its own.
const FAULT: Duration = Duration::from_secs(3);

/// What was in hand when its queue was deleted is handled, failed attempts come again, and so does all that follows.
pub(crate) async fn queue_deleted(stage: Stage) -> Account {
    let held = stage.publish_mixed("at the gate ", 5, 60).await;
    let consumer = stage.attended(BUSY.0, held.len());
    stage.begun(BUSY.0).await;
    stage.unsettled(held.len(), held.len()).await;
    stage.queue.vhost().delete_queue(MAIN).await;
    eventually("the consumer makes it again", SOON, async || stage.queue.vhost().queue(MAIN).await).await;
    stage.journal.open_gate();
    let load = held.with(stage.publish_mixed("", 5, 60).await);
    stage.settled(&load).await;
    let lost = consumer.drain().await.counts.lost_leases;
    stage.account(&load, format!("60 in hand at that time, {lost} lost leases")).await
}

/// The main queue is full and refuses what comes back from the retry queue: it comes back when there is room.
pub(crate) async fn main_queue_full(stage: Stage) -> Account {
    let (waiting, consumer) = held_and_paused(&stage).await;
    let limit = json!({"pattern": format!("^{MAIN}$"), "apply-to": "queues",
                       "definition": {"max-length": 5, "overflow": "reject-publish"}});
    let vhost = stage.queue.vhost();
    let (status, answer) = vhost.api("PUT", &format!("policies/{}/full", vhost.name()), Some(limit)).await;
    assert!((200..300).contains(&status), "{answer}");
    let load = waiting.with(fill(&stage).await);
    let back = back_after(&stage, consumer, &load, async || {}).await;
    stage.account(&load, back).await
}

/// The main queue is gone when events want to come back from the retry queue: they come back when it is there again.
pub(crate) async fn main_queue_absent(stage: Stage) -> Account {
    let (load, consumer) = held_and_paused(&stage).await;
    stage.queue.vhost().delete_queue(MAIN).await;
    let set_up_again = async || stage.queue.publisher().await.close().await;
    let back = back_after(&stage, consumer, &load, set_up_again).await;
    stage.account(&load, back).await
}

/// Events whose handlers are about to fail, and the consumer that holds them and takes no more.
async fn held_and_paused(stage: &Stage) -> (Load, Attended) {
    let load = stage.publish("at the gate fails once 5", 20).await;
    let consumer = stage.attended(load.len(), load.len());
    stage.begun(load.len()).await;
    consumer.handle.pause().await.unwrap();
    (load, consumer)
}

/// Publishes until the queue refuses.
async fn fill(stage: &Stage) -> Load {
    let publisher = stage.queue.publisher().await;
    let mut load = Load::default();
    eventually("the queue is full", SOON, async || {
        let event = webhook_consumer::Event::new("s", "t", "works 5");
        match publisher.publish(&event, Instant::now() + SOON).await {
            Ok(()) => _ = load.handled.insert(event.id),
            Err(PublishError::Refused(_)) => return Some(()),
            Err(error) => panic!("{error}"),
        }
        None
    })
    .await;
    publisher.close().await;
    load
}

/// Lets the handlers fail, so that their events wait in the retry queue for longer than they should. Then mends it all,
/// and says how long it took them to come back.
async fn back_after(stage: &Stage, consumer: Attended, load: &Load, mend: impl AsyncFnOnce()) -> String {
    let failed = stage.noted("begun").len();
    stage.journal.open_gate();
    eventually("failed attempts are put back", SOON, async || {
        (consumer.handle.health().counts.retried == u64::try_from(failed).unwrap()).then_some(())
    })
    .await;
    sleep(FAULT).await;
    assert_eq!(stage.noted("begun").len(), failed);
    eventually("they wait in the retry queue", SOON, async || {
        let queue = stage.queue.vhost().queue(&format!("{MAIN}.retry.1s")).await?;
        (queue["messages"] == failed).then_some(())
    })
    .await;
    mend().await;
    let mended = Instant::now();
    consumer.handle.resume().await.unwrap();
    stage.done(load).await;
    let took = mended.elapsed();
    stage.settled(load).await;
    consumer.drain().await;
    format!("{failed} waited for a retry, back after {:.1} s", took.as_secs_f64())
}

/// A black hole, until it is noticed.
pub(crate) async fn tcp_stalled(stage: Stage) -> Account {
    through_a_proxy(stage, Proxy::stall).await
}

/// Every connection is reset, and none can be made.
pub(crate) async fn tcp_cut(stage: Stage) -> Account {
    through_a_proxy(stage, Proxy::cut).await
}

async fn through_a_proxy(stage: Stage, fault: fn(&Proxy)) -> Account {
    const HEARTBEAT_SECONDS: u16 = 2;
    let proxy = Proxy::start(stage.queue.vhost().amqp_addr()).await;
    let load = stage.publish_mixed("", 20, of(EVENTS)).await;
    let pairs = stage.queue.pairs_via(proxy.addr(), HEARTBEAT_SECONDS);
    let consumer = stage.attended_with(pairs, BUSY.0, BUSY.1);
    stage.begun(load.len() / 4).await;
    fault(&proxy);
    let began = Instant::now();
    let noticed = async || (consumer.handle.health().queue == QueueState::Connecting).then_some(());
    eventually("the consumer notices", SOON, noticed).await;
    let took = began.elapsed();
    sleep(FAULT).await;
    proxy.heal();
    stage.settled(&load).await;
    let lost = consumer.drain().await.counts.lost_leases;
    stage.account(&load, format!("noticed after {:.1} s, {lost} lost leases", took.as_secs_f64())).await
}

/// The broker takes a delivery away from a handler that is too slow for it: the event is handled again beside it.
pub(crate) async fn ack_timeout(stage: Stage) -> Account {
    let slow = format!("hangs once {}", 2 * ACK_TIMEOUT_MS);
    let slow = stage.publish(&slow, 1).await;
    let id = slow.handled.first().unwrap().clone();
    // Enough to be busy until then.
    let load = slow.with(stage.publish_mixed("", 100, of((400, 800))).await);
    let consumer = stage.attended(BUSY.0, BUSY.1);
    stage.settled(&load).await;
    let lost = consumer.drain().await.counts.lost_leases;
    assert!(lost >= 1, "the slow handler's lease was not missed");
    assert_eq!(stage.noted("begun")[&id], 2);
    stage.account(&load, format!("{lost} lost leases")).await
}

/// Nothing can be put back while the broker has no memory: the intake stops by itself, and all goes on afterwards.
pub(crate) async fn memory_alarm(broker: Arc<Broker>, stages: Vec<Stage>) -> Vec<Account> {
    let mut consuming = Vec::new();
    for stage in stages {
        let bodies = ["at the gate fails once 5", "at the gate gives up 5"].map(str::to_owned);
        let load = stage.publish_each(bodies.into_iter().cycle().take(100).collect()).await;
        let consumer = stage.attended(BUSY.0, BUSY.1);
        stage.begun(BUSY.0).await;
        consuming.push((stage, load, consumer));
    }
    broker.memory_alarm(true).await;
    consuming.iter().for_each(|(stage, ..)| stage.journal.open_gate());
    sleep(FAULT).await;
    for (stage, _, consumer) in &consuming {
        let health = consumer.handle.health();
        assert_eq!((stage.noted("begun").len(), health.running), (BUSY.0, BUSY.0), "{}: {health:?}", stage.place);
        assert_eq!((health.counts.retried, health.counts.dead_lettered), (0, 0), "{}", stage.place);
    }
    broker.memory_alarm(false).await;
    join_all(consuming.into_iter().map(async |(stage, load, consumer)| {
        stage.settled(&load).await;
        let lost = consumer.drain().await.counts.lost_leases;
        stage.account(&load, format!("intake stopped at {}, {lost} lost leases", BUSY.0)).await
    }))
    .await
}

/// Killed while handlers run, and started again.
pub(crate) async fn killed(broker: Arc<Broker>, stages: Vec<Stage>) -> Vec<Account> {
    let consumers: Vec<_> = stages.iter().map(|stage| stage.attended(BUSY.0, BUSY.1)).collect();
    for consumer in &consumers {
        let receiving = async || (consumer.handle.health().queue == QueueState::Receiving).then_some(());
        eventually("the consumer has made its queues", SOON, receiving).await;
    }
    broker.let_definitions_settle().await;
    let publish = join_all(stages.into_iter().map(async |stage| {
        let load = stage.publish_mixed("", 20, of(EVENTS)).await;
        (stage, load)
    }));
    let loaded = publish.await.into_iter().zip(consumers);
    let consuming: Vec<_> = loaded.map(|((stage, load), consumer)| (stage, load, consumer)).collect();
    for (stage, load, _) in &consuming {
        stage.begun(load.len() / 4).await;
        assert!(!stage.is_done(load), "{}: there is nothing left to disturb", stage.place);
    }
    broker.kill().await;
    broker.restart().await;
    let back = Instant::now();
    join_all(consuming.into_iter().map(async |(stage, load, consumer)| {
        stage.done(&load).await;
        let took = back.elapsed();
        stage.settled(&load).await;
        let lost = consumer.drain().await.counts.lost_leases;
        let remark = format!("all handled {:.1} s after its return, {lost} lost leases", took.as_secs_f64());
        stage.account(&load, remark).await
    }))
    .await
}
