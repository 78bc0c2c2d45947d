//! Many events at once while the first queue breaks: what was confirmed and is on no queue must be nothing.

use std::collections::HashSet;
use std::time::Duration;

use testbed::{Broker, Version};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use webhook_queue::Publisher;

use crate::stage::{DEADLINE, Second, Stage, publish};

const EVENTS: usize = 4_000;
/// 500 a second.
const EVERY: Duration = Duration::from_millis(2);
const BREAKS_AT: usize = EVENTS / 4;
const HEALS_AT: usize = BREAKS_AT * 3;
/// On a busy machine.
const SLACK: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_first_queue_is_cut_off() {
    survives("cut", |stage| stage.proxy.cut()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_first_queue_is_silent() {
    survives("stall", |stage| stage.proxy.stall()).await;
}

async fn survives(what: &str, break_it: impl Fn(&Stage)) {
    let stage = Stage::new(Broker::shared(Version::V3).await, Second::sqlite().await).await;
    let publisher = stage.publisher().await;
    let (confirmed, mut late) = run(&stage, &publisher, break_it).await;
    assert_eq!(confirmed.len(), EVENTS, "one queue was healthy all the time");

    let (first, second) = (stage.take_first().await, stage.take_second().await);
    let lost: Vec<_> = confirmed.iter().filter(|id| !first.contains(*id) && !second.contains(*id)).collect();
    assert!(lost.is_empty(), "{} were confirmed and are nowhere", lost.len());
    assert!(!first.is_empty() && !second.is_empty());

    let both = first.intersection(&second).count();
    let counts = [confirmed.len(), first.len(), second.len(), both].map(|count| count.to_string());
    // The first share of the deadline is what it takes to know that a queue is silent.
    let known = DEADLINE / 2 + SLACK;
    let (before, _) = took(&mut late, |began| began < DEADLINE / 2);
    let (after, p99) = took(&mut late, |began| began > known && began < known + Duration::from_secs(1));
    let columns = ["fault", "confirmed", "first", "fallback", "both", "until known", "the second after"];
    testbed::row(
        "RabbitMQ breaks, SQLite takes over",
        &columns,
        &[&[what.to_owned()], &counts[..], &[before, after]].concat(),
    );
    assert!(p99 < SLACK, "the next events took {p99:?}");
}

/// How long those took that began at a time after the break: in words, and the 99th of a hundred.
fn took(late: &mut [(Duration, Duration)], at: impl Fn(Duration) -> bool) -> (String, Duration) {
    let mut took: Vec<Duration> = late.iter().filter(|(began, _)| at(*began)).map(|(_, took)| *took).collect();
    took.sort();
    let of = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)];
    (format!("p50 {:.1?}, p99 {:.1?}, most {:.1?}", of(50), of(99), of(100)), of(99))
}

/// The ids that were confirmed; and of events after the break, how long after it they began and how long they took.
async fn run(
    stage: &Stage,
    publisher: &Publisher,
    break_it: impl Fn(&Stage),
) -> (HashSet<String>, Vec<(Duration, Duration)>) {
    let mut tasks = JoinSet::new();
    let mut clock = interval(EVERY);
    let mut broken = None;
    for number in 0..EVENTS {
        clock.tick().await;
        match number {
            BREAKS_AT => {
                break_it(stage);
                broken = Some(Instant::now());
            }
            HEALS_AT => stage.proxy.heal(),
            _ => {}
        }
        let publisher = publisher.clone();
        let began = broken.map(|broken: Instant| broken.elapsed());
        tasks.spawn(async move {
            let (outcome, took) = publish(&publisher).await;
            (outcome, began.map(|began| (began, took)))
        });
    }
    let (mut confirmed, mut late) = (HashSet::new(), Vec::new());
    for (outcome, took) in tasks.join_all().await {
        late.extend(took);
        confirmed.insert(outcome.unwrap());
    }
    (confirmed, late)
}
