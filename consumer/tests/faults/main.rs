//! Consuming through faults, on every queue: consumers that die, and a RabbitMQ that fails in every way we know.
//!
//! Whatever happens, every event is handled at least once or becomes a dead letter with its reason, and nothing hangs.
//! What was handled more than once is counted: the table is in the output, and with `infra/check --long`, which raises
//! the counts, in `infra/results`.
//!
//! This is its own runner, because the processes that die are itself: called with `consume` it is a consumer, otherwise
//! it runs every scenario whose name contains its argument.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helper functions of tests")]
#![expect(clippy::print_stdout, reason = "a failure is told in the place of its row")]

#[path = "../common/mod.rs"]
mod common;

mod broker;
mod killed;
mod process;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt, LocalBoxFuture, join_all};
use testbed::{Broker, Version, versions};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, timeout};

use broker::ACK_TIMEOUT_MS;
use common::Queue;
use stage::{Account, Stage};

/// What a scenario may take, and what it may wait for one thing, with the full counts.
const LIMIT: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(200);
/// How soon RabbitMQ tries again to hand on what could not be handed on. Its own default is three minutes.
const HAND_ON_AGAIN: (&str, u32) = ("dead_letter_worker_publisher_confirm_timeout", 2000);
/// How often a quorum queue tells how much it holds, in milliseconds: the tests look at that.
const TOLD_OFTEN: (&str, u32) = ("quorum_tick_interval", 1000);
const QUEUE_TYPES: [&str; 2] = ["classic", "quorum"];

/// One queue, one fault. It panics where a promise is broken.
type Scenario = fn(Stage) -> LocalBoxFuture<'static, Account>;
/// One broker that breaks, and all queues on it.
type Breakage = fn(Arc<Broker>, Vec<Stage>) -> LocalBoxFuture<'static, Vec<Account>>;

const ON_EVERY_QUEUE: [(&str, Scenario); 6] = [
    ("an event that kills the process", |stage| killed::by_an_event(stage).boxed_local()),
    ("consumer SIGKILLed mid-handler", |stage| killed::at_random(stage).boxed_local()),
    ("consumer SIGKILLed beside a busy one", |stage| killed::beside_a_busy_neighbour(stage).boxed_local()),
    ("consumer SIGKILLed, one handler stuck", |stage| killed::beside_finished_ones(stage).boxed_local()),
    ("consumer SIGTERMed mid-handler", |stage| killed::terminated(stage).boxed_local()),
    ("consumer SIGTERMed twice", |stage| killed::terminated_twice(stage).boxed_local()),
];
const ON_RABBITMQ: [(&str, Scenario); 5] = [
    ("queue deleted while events are in hand", |stage| broker::queue_deleted(stage).boxed_local()),
    ("main queue full", |stage| broker::main_queue_full(stage).boxed_local()),
    ("main queue absent", |stage| broker::main_queue_absent(stage).boxed_local()),
    ("TCP stalled", |stage| broker::tcp_stalled(stage).boxed_local()),
    ("TCP cut", |stage| broker::tcp_cut(stage).boxed_local()),
];
const ON_IMPATIENT_RABBITMQ: [(&str, Scenario); 1] =
    [("ack timeout", |stage| broker::ack_timeout(stage).boxed_local())];
const OF_A_WHOLE_BROKER: [(&str, Breakage); 2] = [
    ("memory alarm", |broker, stages| broker::memory_alarm(broker, stages).boxed_local()),
    ("broker SIGKILLed", |broker, stages| broker::killed(broker, stages).boxed_local()),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.get(1).map(String::as_str) {
        Some("consume") => runtime.block_on(process::consume(&arguments[2..])),
        _ => {
            let wanted = arguments.iter().skip(1).find(|argument| !argument.starts_with('-'));
            let wanted = wanted.map_or("", String::as_str);
            tokio::task::LocalSet::new().block_on(&runtime, every_scenario(wanted));
        }
    }
}

/// The count in the checks or the one with `WEBHOOK_QUEUE_LONG`.
fn of((short, long): (usize, usize)) -> usize {
    if testbed::long() { long } else { short }
}

/// One scenario under way: its name, its places, and what it will have found there.
type Under = (&'static str, Vec<String>, JoinHandle<(Option<Vec<Account>>, Duration)>);

/// Runs what leaves the brokers whole at once, then what breaks them. What needs no broker goes on beside that.
async fn every_scenario(wanted: &str) {
    let taken_away_soon = [TOLD_OFTEN, ("consumer_timeout", ACK_TIMEOUT_MS), ("channel_tick_interval", 500)];
    let (patient, impatient) = tokio::join!(brokers(&[TOLD_OFTEN, HAND_ON_AGAIN]), brokers(&taken_away_soon));
    let wanted = |name: &str| name.contains(wanted);
    let mut failed = 0;
    let mut on_sqlite = Vec::new();
    for (name, scenario) in ON_EVERY_QUEUE.into_iter().filter(|(name, _)| wanted(name)) {
        on_sqlite.push(start(name, scenario, Stage::new("SQLite".to_owned(), Queue::sqlite())));
    }

    let on_patient = ON_EVERY_QUEUE.into_iter().chain(ON_RABBITMQ).map(|scenario| (scenario, &patient));
    let on_impatient = ON_IMPATIENT_RABBITMQ.into_iter().map(|scenario| (scenario, &impatient));
    let mut running = Vec::new();
    for ((name, scenario), brokers) in on_patient.chain(on_impatient).filter(|((name, _), _)| wanted(name)) {
        for (version, broker) in brokers {
            running.extend(stages(*version, broker).await.into_iter().map(|stage| start(name, scenario, stage)));
        }
    }
    for scenario in running {
        failed += tell(scenario).await;
    }

    for (name, breakage) in OF_A_WHOLE_BROKER.into_iter().filter(|(name, _)| wanted(name)) {
        let breaking = patient
            .iter()
            .map(async |(version, broker)| break_it(name, breakage, broker.clone(), stages(*version, broker).await));
        for scenario in join_all(breaking).await {
            failed += tell(scenario).await;
        }
    }

    for scenario in on_sqlite {
        failed += tell(scenario).await;
    }
    assert_eq!(failed, 0, "scenarios failed");
}

async fn brokers(settings: &[(&str, u32)]) -> Vec<(Version, Arc<Broker>)> {
    let start = async |version| (version, Arc::new(Broker::start_with(version, settings).await));
    join_all(versions().into_iter().map(start)).await
}

async fn stages(version: Version, broker: &Broker) -> Vec<Stage> {
    let number = if version == Version::V3 { "3.10" } else { "4.x" };
    join_all(QUEUE_TYPES.map(async |queue_type| {
        Stage::new(format!("RabbitMQ {number}, {queue_type}"), Queue::on(broker, queue_type).await)
    }))
    .await
}

fn start(name: &'static str, scenario: Scenario, stage: Stage) -> Under {
    let (place, begun) = (stage.place.clone(), Instant::now());
    let task = spawn_local(async move {
        let found = timeout(LIMIT, scenario(stage)).await.ok();
        (found.map(|account| vec![account]), begun.elapsed())
    });
    (name, vec![place], task)
}

fn break_it(name: &'static str, breakage: Breakage, broker: Arc<Broker>, stages: Vec<Stage>) -> Under {
    let (places, begun) = (stages.iter().map(|stage| stage.place.clone()).collect(), Instant::now());
    let task = spawn_local(async move { (timeout(LIMIT, breakage(broker, stages)).await.ok(), begun.elapsed()) });
    (name, places, task)
}

/// Prints the rows of one scenario. Says how many have failed.
async fn tell((name, places, task): Under) -> usize {
    let reason = match task.await {
        Ok((Some(accounts), took)) => {
            places.iter().zip(&accounts).for_each(|(place, account)| row(name, place, account, took));
            return 0;
        }
        Ok((None, _)) => format!("not done within {LIMIT:?}"),
        Err(_) => "see above".to_owned(),
    };
    println!("{name} · {}: FAILED ({reason})", places.join(" · "));
    1
}

fn row(name: &str, place: &str, account: &Account, took: Duration) {
    let columns = ["fault", "queue", "events", "handled", "dead letters", "lost", "duplicates", "took", "remark"];
    let cells = [
        name.to_owned(),
        place.to_owned(),
        account.events.to_string(),
        (account.events - account.dead).to_string(),
        account.dead.to_string(),
        // Each was looked for: one that is missing has ended the scenario.
        "0".to_owned(),
        account.duplicates.to_string(),
        format!("{:.1} s", took.as_secs_f64()),
        account.remark.clone(),
    ];
    testbed::row("Events through faults", &columns, &cells);
}
