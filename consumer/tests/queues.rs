//! The promises of a running consumer, on every queue.
#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Queue, SOON};
use testbed::{in_time, versions};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use webhook_consumer::{
    Attempt, Consumer, Counts, Event, Handle, Json, Outcome, QueueState, Router, State, Summary, Unhandled,
};
use webhook_queue::{QueueConfig, QueueUrl, Received, Subscribe, Subscriber};

macro_rules! on_every_queue {
    ($($promise:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::in_time("the end of the test", super::$promise(super::Queue::sqlite())).await;
            })*
        }
        mod sqs {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::in_time("the end of the test", super::$promise(super::Queue::sqs().await)).await;
            })*
        }
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                for version in super::versions() {
                    super::in_time("the end of the test", super::$promise(super::Queue::rabbitmq(version).await)).await;
                }
            })*
        }
    };
}

on_every_queue! {
    every_event_is_handled,
    no_more_handlers_run_than_allowed,
    a_failed_event_comes_again_as_the_next_attempt,
    a_dead_letter_has_its_reason,
    an_event_that_nobody_wants_can_be_dropped,
    a_panic_harms_nobody_else,
    draining_interrupts_no_handler_and_hands_back_the_rest,
    draining_hands_back_what_waits_behind_a_layer,
    what_outlives_the_grace_is_interrupted_and_comes_again,
    stopping_does_not_wait_for_the_grace,
    pausing_hands_back_and_resuming_goes_on,
    dead_letters_are_replayed,
    what_fails_again_does_not_go_round,
    a_consumer_ends_with_the_future_it_was_given,
}

/// Handlers report here what they have been given, and wait at the gate.
#[derive(Clone)]
struct Probe {
    seen: mpsc::UnboundedSender<(String, u32)>,
    gate: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Probe {
    /// A probe with its gate shut.
    fn new() -> (Probe, mpsc::UnboundedReceiver<(String, u32)>) {
        let (seen, sightings) = mpsc::unbounded_channel();
        (Probe { seen, gate: Arc::new(Semaphore::new(0)), running: Arc::default(), most: Arc::default() }, sightings)
    }

    fn open(&self) {
        self.gate.add_permits(1_000_000);
    }

    async fn visit(&self, event: &Event, attempt: u32) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.seen.send((event.id.clone(), attempt)).unwrap();
        self.gate.acquire().await.unwrap().forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn visits(State(probe): State<Probe>, event: Event, Attempt(attempt): Attempt) {
    probe.visit(&event, attempt).await;
}

fn visiting(probe: &Probe) -> Router {
    Router::new().on("*/*", visits).with_state(probe.clone())
}

async fn counts(handle: &Handle, what: &str, reached: impl Fn(Counts) -> bool) -> Counts {
    let reached = tokio::time::timeout(SOON, handle.wait_for(|health| reached(health.counts)));
    reached.await.unwrap_or_else(|_| panic!("{what}: {:?}", handle.health())).unwrap().counts
}

async fn sightings<T>(from: &mut mpsc::UnboundedReceiver<T>, count: usize) -> Vec<T> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(tokio::time::timeout(SOON, from.recv()).await.unwrap().unwrap());
    }
    seen
}

async fn end(handle: &Handle, task: JoinHandle<Summary>) -> Summary {
    handle.drain();
    tokio::time::timeout(SOON, task).await.unwrap().unwrap()
}

/// Handles all that is left with another consumer; it must be exactly these, each as its first attempt.
async fn rest_is(queue: &Queue, mut ids: Vec<String>) {
    let (probe, mut seen) = Probe::new();
    probe.open();
    let (handle, task) = queue.consumer().start(visiting(&probe)).unwrap();
    let mut rest = sightings(&mut seen, ids.len()).await;
    rest.sort();
    ids.sort();
    assert_eq!(rest, ids.into_iter().map(|id| (id, 1)).collect::<Vec<_>>());
    let summary = end(&handle, task).await;
    assert_eq!(summary.counts.handled, u64::try_from(rest.len()).unwrap());
    assert!(seen.try_recv().is_err(), "something came twice");
}

async fn every_event_is_handled(queue: Queue) {
    let mut ids = queue.publish(&[("s/t", "body"); 300]).await;
    let (probe, mut seen) = Probe::new();
    probe.open();
    let (handle, task) = queue.consumer().start(visiting(&probe)).unwrap();
    let mut handled: Vec<String> = sightings(&mut seen, 300).await.into_iter().map(|(id, _)| id).collect();
    ids.sort();
    handled.sort();
    assert_eq!(handled, ids);
    counts(&handle, "all handled", |counts| counts.handled == 300).await;
    assert_eq!(handle.health().queue, QueueState::Receiving);
    let summary = end(&handle, task).await;
    assert_eq!((summary.interrupted, summary.counts.handled, summary.counts.retried), (0, 300, 0));
    assert!(handle.health().draining);
    assert!(handle.pause().await.unwrap_err().is_stopped());
    assert!(handle.replay(1).await.unwrap_err().is_stopped());
}

async fn no_more_handlers_run_than_allowed(queue: Queue) {
    queue.publish(&[("s/t", ""); 20]).await;
    let (probe, mut seen) = Probe::new();
    let consumer = queue.consumer().concurrency(3).prefetch(10);
    let (handle, task) = consumer.start(visiting(&probe)).unwrap();
    sightings(&mut seen, 3).await;
    assert_eq!((handle.health().running, probe.running.load(Ordering::SeqCst)), (3, 3));
    probe.open();
    counts(&handle, "all handled", |counts| counts.handled == 20).await;
    assert_eq!(probe.most.load(Ordering::SeqCst), 3);
    end(&handle, task).await;
    assert_eq!(handle.health().running, 0);
}

async fn a_failed_event_comes_again_as_the_next_attempt(queue: Queue) {
    let ids = queue.publish(&[("s/t", "")]).await;
    let (seen, mut attempts) = mpsc::unbounded_channel();
    let fails_twice = async move |event: Event, Attempt(attempt): Attempt| -> Result<Outcome, &'static str> {
        seen.send((event.id, attempt)).unwrap();
        match attempt {
            1 => Err("no luck"),
            2 => Ok(Outcome::snooze(Duration::from_secs(1))),
            _ => Ok(Outcome::Done),
        }
    };
    let (handle, task) = queue.consumer().start(Router::new().on("s/t", fails_twice)).unwrap();
    let expected: Vec<(String, u32)> = (1..=3).map(|attempt| (ids[0].clone(), attempt)).collect();
    assert_eq!(sightings(&mut attempts, 3).await, expected);
    let counts = counts(&handle, "handled", |counts| counts.handled == 1).await;
    assert_eq!((counts.retried, counts.dead_lettered), (2, 0));
    end(&handle, task).await;
}

async fn a_dead_letter_has_its_reason(queue: Queue) {
    let ids = queue.publish(&[("s/given-up", ""), ("s/json", "{"), ("s/unknown", ""), ("s/fails", "")]).await;
    let router = Router::new()
        .on("s/given-up", async || Outcome::dead_letter("no such customer"))
        .on("s/json", async |_: Json<u32>| ())
        .on("s/fails", async || Err::<(), _>("no luck"));
    let (handle, task) = queue.consumer().retry_max_age(Duration::from_nanos(1)).start(router).unwrap();
    counts(&handle, "all dead-lettered", |counts| counts.dead_lettered == 4).await;
    end(&handle, task).await;
    let reasons = ["handler", "undecodable", "no-handler", "retries"].map(str::to_owned);
    assert_eq!(queue.dead_letters(4).await, ids.into_iter().zip(reasons).collect::<BTreeMap<_, _>>());
}

async fn an_event_that_nobody_wants_can_be_dropped(queue: Queue) {
    queue.publish(&[("s/unknown", ""); 3]).await;
    let (handle, task) = queue.consumer().unhandled(Unhandled::Ack).start(Router::new()).unwrap();
    counts(&handle, "all dropped", |counts| counts.handled == 3).await;
    assert_eq!(end(&handle, task).await.counts.dead_lettered, 0);
}

async fn a_panic_harms_nobody_else(queue: Queue) {
    queue.publish(&[("s/panics", ""), ("s/t", ""), ("s/panics", ""), ("s/t", "")]).await;
    let panics_once = async |Attempt(attempt): Attempt| assert!(attempt > 1, "on purpose");
    let router = Router::new().on("s/panics", panics_once).on("s/t", async || ());
    let (handle, task) = queue.consumer().start(router).unwrap();
    let counts = counts(&handle, "all handled", |counts| counts.handled == 4).await;
    assert_eq!((counts.retried, counts.dead_lettered), (2, 0));
    end(&handle, task).await;
}

async fn draining_interrupts_no_handler_and_hands_back_the_rest(queue: Queue) {
    let mut ids = queue.publish(&[("s/t", ""); 20]).await;
    let (probe, mut seen) = Probe::new();
    let consumer = queue.consumer().concurrency(2).prefetch(10);
    let (handle, task) = consumer.start(visiting(&probe)).unwrap();
    let begun = sightings(&mut seen, 2).await;
    handle.drain();
    ids.retain(|id| begun.iter().all(|(begun, _)| begun != id));
    rest_is(&queue, ids).await;
    assert_eq!(handle.health().running, 2, "still not interrupted");
    probe.open();
    let summary = end(&handle, task).await;
    assert_eq!((summary.interrupted, summary.counts.handled), (0, 2));
    assert!(seen.try_recv().is_err(), "a handler was begun while draining");
}

async fn draining_hands_back_what_waits_behind_a_layer(queue: Queue) {
    let mut ids = queue.publish(&[("s/t", ""); 4]).await;
    let (probe, mut seen) = Probe::new();
    let router = visiting(&probe).layer(ConcurrencyLimitLayer::new(1));
    let (handle, task) = queue.consumer().start(router).unwrap();
    let begun = sightings(&mut seen, 1).await;
    handle.wait_for(|health| health.running == 4).await.unwrap();
    handle.drain();
    ids.retain(|id| *id != begun[0].0);
    rest_is(&queue, ids).await;
    probe.open();
    let summary = end(&handle, task).await;
    assert_eq!((summary.interrupted, summary.counts.handled, summary.counts.released), (0, 1, 3));
}

async fn what_outlives_the_grace_is_interrupted_and_comes_again(queue: Queue) {
    let ids = queue.publish(&[("s/t", "")]).await;
    let (probe, mut seen) = Probe::new();
    let consumer = queue.consumer().grace(Duration::from_millis(200));
    let (handle, task) = consumer.start(visiting(&probe)).unwrap();
    sightings(&mut seen, 1).await;
    let summary = end(&handle, task).await;
    assert_eq!((summary.interrupted, summary.counts.handled), (1, 0));
    rest_is(&queue, ids).await;
}

async fn stopping_does_not_wait_for_the_grace(queue: Queue) {
    let ids = queue.publish(&[("s/t", "")]).await;
    let (probe, mut seen) = Probe::new();
    let (handle, task) = queue.consumer().grace(Duration::from_secs(3600)).start(visiting(&probe)).unwrap();
    sightings(&mut seen, 1).await;
    handle.drain();
    handle.wait_for(|health| health.draining).await.unwrap();
    handle.stop();
    let summary = tokio::time::timeout(SOON, task).await.unwrap().unwrap();
    assert_eq!((summary.interrupted, summary.counts.handled), (1, 0));
    let never = tokio::time::timeout(SOON, handle.wait_for(|health| health.counts.handled == 1));
    assert!(never.await.unwrap().unwrap_err().is_stopped());
    rest_is(&queue, ids).await;
}

async fn pausing_hands_back_and_resuming_goes_on(queue: Queue) {
    let mut ids = queue.publish(&[("s/t", ""); 10]).await;
    let (probe, mut seen) = Probe::new();
    let consumer = queue.consumer().concurrency(1).prefetch(5);
    let (handle, task) = consumer.start(visiting(&probe)).unwrap();
    let begun = sightings(&mut seen, 1).await;
    handle.pause().await.unwrap();
    handle.wait_for(|health| health.queue == QueueState::Paused).await.unwrap();
    ids.retain(|id| *id != begun[0].0);
    rest_is(&queue, ids).await;

    probe.open();
    counts(&handle, "the running one is handled", |counts| counts.handled == 1).await;
    let more = queue.publish(&[("s/t", ""); 3]).await;
    assert!(seen.try_recv().is_err(), "something was begun while paused");
    handle.resume().await.unwrap();
    let mut after: Vec<String> = sightings(&mut seen, 3).await.into_iter().map(|(id, _)| id).collect();
    after.sort();
    assert_eq!(after, more);
    counts(&handle, "the rest is handled", |counts| counts.handled == 4).await;
    end(&handle, task).await;
}

async fn dead_letters_are_replayed(queue: Queue) {
    let mut ids = queue.publish(&[("s/t", ""); 5]).await;
    let (mended, (seen, mut handled)) = (Arc::new(AtomicBool::new(false)), mpsc::unbounded_channel());
    let is_mended = mended.clone();
    let handler = async move |event: Event, Attempt(attempt): Attempt| {
        if !is_mended.load(Ordering::SeqCst) {
            return Outcome::dead_letter("a bug");
        }
        seen.send((event.id, attempt)).unwrap();
        Outcome::Done
    };
    let (handle, task) = queue.consumer().start(Router::new().on("s/t", handler)).unwrap();
    counts(&handle, "all dead-lettered", |counts| counts.dead_lettered == 5).await;
    mended.store(true, Ordering::SeqCst);
    assert_eq!(handle.replay(2).await.unwrap(), 2);
    let mut replayed = sightings(&mut handled, 2).await;
    assert_eq!(handle.replay(10).await.unwrap(), 3);
    replayed.extend(sightings(&mut handled, 3).await);
    replayed.sort();
    ids.sort();
    assert_eq!(replayed, ids.into_iter().map(|id| (id, 1)).collect::<Vec<_>>(), "they start afresh");
    assert_eq!(handle.replay(10).await.unwrap(), 0);
    end(&handle, task).await;
}

async fn what_fails_again_does_not_go_round(queue: Queue) {
    queue.publish(&[("s/t", ""); 20]).await;
    let router = Router::new().on("s/t", async || Outcome::dead_letter("a bug"));
    let (handle, task) = queue.consumer().start(router).unwrap();
    counts(&handle, "all dead-lettered", |counts| counts.dead_lettered == 20).await;
    assert_eq!(handle.replay(usize::MAX).await.unwrap(), 20);
    counts(&handle, "all dead-lettered again", |counts| counts.dead_lettered == 40).await;
    assert_eq!(end(&handle, task).await.counts.dead_lettered, 40);
}

async fn a_consumer_ends_with_the_future_it_was_given(queue: Queue) {
    queue.publish(&[("s/t", "")]).await;
    let (probe, mut seen) = Probe::new();
    probe.open();
    let (stop, stopped) = oneshot::channel::<()>();
    let consumer = queue.consumer().drain_on(async { _ = stopped.await });
    let task = tokio::spawn(consumer.run(visiting(&probe)));
    sightings(&mut seen, 1).await;
    drop(stop);
    let summary = tokio::time::timeout(SOON, task).await.unwrap().unwrap().unwrap();
    assert_eq!((summary.interrupted, summary.counts.handled), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_router_serves_several_queues_until_one_shutdown() {
    let queues = [Queue::sqlite(), Queue::sqs().await];
    let (probe, mut seen) = Probe::new();
    let router = visiting(&probe).layer(GlobalConcurrencyLimitLayer::new(3));
    let (shutdown, mut ids, mut running) = (CancellationToken::new(), Vec::new(), Vec::new());
    for queue in &queues {
        ids.extend(queue.publish(&[("s/t", ""); 5]).await);
        let consumer = queue.consumer().drain_on(shutdown.clone().cancelled_owned());
        running.push(consumer.start(router.clone()).unwrap());
    }
    for (handle, _) in &running {
        in_time("five handlers run", handle.wait_for(|health| health.running == 5)).await.unwrap();
    }
    let mut handled = sightings(&mut seen, 3).await;
    probe.open();
    handled.extend(sightings(&mut seen, 7).await);
    let mut handled: Vec<String> = handled.into_iter().map(|(id, _)| id).collect();
    handled.sort();
    ids.sort();
    assert_eq!(handled, ids);
    assert_eq!(probe.most.load(Ordering::SeqCst), 3, "over both queues");
    shutdown.cancel();
    for (_, task) in running {
        let summary = tokio::time::timeout(SOON, task).await.unwrap().unwrap();
        assert_eq!((summary.interrupted, summary.counts.handled), (0, 5));
    }
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let queue = Queue::sqlite();
    for consumer in
        [queue.consumer().concurrency(11).prefetch(10), queue.consumer().concurrency(0), queue.consumer().prefetch(0)]
    {
        assert!(Consumer::start(consumer, Router::new()).unwrap_err().is_config());
    }
    let error = Consumer::with_env(webhook_consumer::Env::from_pairs([("CONSUMER_GRACE", "1")])).unwrap_err();
    assert!(error.is_config());
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("QUEUE_URL: is not set") && source.contains("CONSUMER_GRACE: '1'"), "{source}");
}

/// What is on the floor while the handler runs, and what was there when the suspect began and when it ended.
#[derive(Clone, Default)]
struct Company {
    running: Arc<AtomicUsize>,
    beside: Arc<Mutex<Vec<usize>>>,
}

async fn looks_around(State(company): State<Company>, event: Event) {
    let look = || company.beside.lock().unwrap().push(company.running.load(Ordering::SeqCst));
    if event.source == "suspect" {
        look();
        sleep(Duration::from_millis(100)).await;
        look();
    } else {
        company.running.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(20)).await;
        company.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A queue, and who died holding an event of it.
async fn shaken() -> (Queue, (Subscriber, Received)) {
    let queue = Queue::sqlite();
    queue.publish(&[("suspect/t", "body")]).await;
    let mut dead = Subscriber::open(&QueueConfig::new(QueueUrl::parse(&queue.pairs[0].1).unwrap()), 1).unwrap();
    let held = in_time("it is held", dead.next()).await;
    queue.let_leases_lapse();
    (queue, (dead, held))
}

/// An event that another process held when it died runs alone, also beside the consumer of another queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_is_alone_among_all_consumers_of_a_router() {
    let (busy, (shaken, _dead)) = (Queue::sqlite(), shaken().await);
    busy.publish(&[("s/t", "body"); 400]).await;

    let company = Company::default();
    let router = Router::new().on("*/*", looks_around).with_state(company.clone());
    let (others, others_task) = busy.consumer().start(router.clone()).unwrap();
    counts(&others, "they are at work", |counts| counts.handled > 0).await;
    let (handle, task) = shaken.consumer().start(router).unwrap();
    counts(&handle, "the suspect is handled", |counts| counts.handled == 1).await;
    counts(&others, "the others go on", |counts| counts.handled == 400).await;
    assert_eq!(*company.beside.lock().unwrap(), [0, 0]);
    end(&handle, task).await;
    end(&others, others_task).await;
}

/// Nobody else waits for a queue that cannot take a settlement, not even an event that is to run alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_waits_for_handlers_and_not_for_their_settlements() {
    let (stuck, (shaken, _dead)) = (Queue::sqlite(), shaken().await);
    stuck.publish(&[("s/t", "body")]).await;
    shaken.publish(&[("s/t", "body"); 10]).await;

    let (company, file) = (Company::default(), stuck.file());
    let router = Router::new().on("*/*", looks_around).with_state(company.clone());
    let (others, others_task) = stuck.consumer().start(router.clone()).unwrap();
    tokio::time::timeout(SOON, others.wait_for(|health| health.running == 1)).await.unwrap().unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (handle, task) = shaken.consumer().start(router).unwrap();
    counts(&handle, "all is handled", |counts| counts.handled == 11).await;
    assert_eq!(others.health().counts.handled, 0, "it was to wait");
    file.execute_batch("ROLLBACK").unwrap();
    counts(&others, "it is settled", |counts| counts.handled == 1).await;
    end(&handle, task).await;
    end(&others, others_task).await;
}
