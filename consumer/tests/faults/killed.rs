//! Consumers that die, or are told to end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use testbed::eventually;
use tokio::time::{Instant, sleep};

use crate::common::SOON;
use crate::process::Process;
use crate::stage::{Account, Load, Stage, notes};
use crate::{PATIENCE, of};

/// The counts, in the checks and with `WEBHOOK_QUEUE_LONG`.
const KILLS: (usize, usize) = (5, 30);
const EVENTS: (usize, usize) = (300, 3000);
const FINISHED: (usize, usize) = (1000, 10_000);

const BUSY: [&str; 2] = ["CONSUMER_CONCURRENCY=8", "CONSUMER_PREFETCH=40"];

/// One of 200 events kills whoever handles it: it alone becomes a dead letter, and every other event is handled.
pub(crate) async fn by_an_event(stage: Stage) -> Account {
    let mut bodies = vec!["works 5".to_owned(); 200];
    // Let some neighbours be in the middle of their work.
    bodies[57] = "kills 20".to_owned();
    let mut ids = stage.queue.publish_many(&bodies).await;
    let killer = ids.remove(57);
    let innocent = Load { handled: ids.into_iter().collect(), ..Load::default() };

    let mut deaths = 0;
    let mut process = stage.process(&[]);
    // The killer is dead-lettered last: before that it has to kill. Then nothing is left to die of.
    while deaths < 4 || !stage.is_done(&innocent) {
        if process.ended().is_some() {
            deaths += 1;
            stage.queue.let_leases_lapse();
            process = stage.process(&[]);
        }
        sleep(Duration::from_millis(50)).await;
    }
    let dead = stage.queue.dead_letters(1).await;
    stage.nothing_left().await;
    assert!(process.ended().is_none(), "it killed once more");
    end(process).await;
    assert_eq!(dead, BTreeMap::from([(killer.clone(), "crashed".to_owned())]));
    assert_eq!(stage.noted("begun")[&killer], deaths);
    let (events, duplicates) = (innocent.handled.len() + 1, stage.duplicates());
    Account { events, dead: 1, duplicates, remark: format!("{deaths} processes died of it") }
}

/// Killed at random moments: every event is handled.
pub(crate) async fn at_random(stage: Stage) -> Account {
    let (kills, events) = (of(KILLS), of(EVENTS));
    let load = stage.publish("works 60", events).await;
    for _ in 0..kills {
        let mut process = stage.process(&BUSY);
        let more = stage.noted("begun").len() + below(20);
        eventually("it handles something", PATIENCE, async || {
            (stage.noted("begun").len() > more || stage.is_done(&load)).then_some(())
        })
        .await;
        stage.kill(&mut process).await;
        stage.queue.let_leases_lapse();
    }
    let process = stage.process(&[]);
    stage.settled(&load).await;
    end(process).await;
    let alone = stage.suspects_ran_alone();
    assert!(alone > 0, "no handler was killed");
    stage.account(&load, format!("{kills} kills, {alone} suspects ran alone")).await
}

/// Killed beside another that goes on: that one runs what the dead one was running, each alone, and all the rest.
pub(crate) async fn beside_a_busy_neighbour(stage: Stage) -> Account {
    // Enough work for the neighbour to be busy when the leases of the dead one lapse by themselves.
    let load = stage.publish("works 200", if stage.queue.has_leases() { 1600 } else { 800 }).await;
    let (mut victim, neighbour) = (stage.process(&BUSY), stage.process(&BUSY));
    let both_busy = async || {
        let journal = stage.journal.read();
        let busy = |process: &Process| {
            let id = process.id().to_string();
            let noted = |what| notes(&journal).filter(|(noted, _, process)| *noted == what && *process == id).count();
            noted("begun") >= 20 && noted("begun") > noted("done")
        };
        (busy(&victim) && busy(&neighbour)).then_some(())
    };
    eventually("both are busy", SOON, both_busy).await;
    stage.kill(&mut victim).await;
    stage.settled(&load).await;
    end(neighbour).await;
    let alone = stage.suspects_ran_alone();
    assert!(alone > 0, "no handler was killed");
    stage.account(&load, format!("{alone} suspects ran alone")).await
}

/// Killed when one handler is stuck and many have finished: the stuck event is begun twice, and no other.
pub(crate) async fn beside_finished_ones(stage: Stage) -> Account {
    let finished = of(FINISHED);
    let mut bodies = vec!["works 0".to_owned(); finished + 1];
    bodies[finished / 2] = "hangs once 600000".to_owned();
    let ids = stage.queue.publish_many(&bodies).await;
    let (stuck, load) = (ids[finished / 2].clone(), Load { handled: ids.into_iter().collect(), ..Load::default() });
    let mut process = stage.process(&[]);
    eventually("the others finish", PATIENCE, async || (stage.noted("done").len() == finished).then_some(())).await;
    stage.unsettled(1, 1).await;
    stage.kill(&mut process).await;
    stage.queue.let_leases_lapse();
    let process = stage.process(&[]);
    stage.settled(&load).await;
    end(process).await;
    let again: BTreeSet<_> = stage.noted("begun").into_iter().filter(|(_, times)| *times > 1).collect();
    assert_eq!(again, BTreeSet::from([(stuck, 2)]), "begun more than once");
    stage.account(&load, "1 redelivery, of the stuck one").await
}

/// Told to end: what has begun is finished, what has not is handed back, and nothing is done twice.
pub(crate) async fn terminated(stage: Stage) -> Account {
    let load = stage.publish("works 400", 60).await;
    let first = stage.process(&BUSY);
    stage.begun(12).await;
    end(first).await;
    let begun = stage.noted("begun");
    assert_eq!(begun, stage.noted("done"), "a handler was interrupted");
    assert!(begun.len() < load.handled.len(), "there was nothing left to hand back");

    let second = stage.process(&BUSY);
    // Well within a lease: what was handed back comes again at once.
    eventually("the rest is handled", Duration::from_secs(20), async || stage.is_done(&load).then_some(())).await;
    end(second).await;
    assert!(stage.noted("begun").values().all(|times| *times == 1));
    stage.account(&load, format!("{} handled before, the rest handed back", begun.len())).await
}

/// Told twice: ends at once, and what was interrupted comes again at once.
pub(crate) async fn terminated_twice(stage: Stage) -> Account {
    let load = stage.publish("hangs once 600000", 1).await;
    let mut first = stage.process(&[]);
    stage.begun(1).await;
    first.terminate();
    sleep(Duration::from_millis(500)).await;
    assert!(first.ended().is_none(), "the grace is not over");
    let told = Instant::now();
    first.terminate();
    assert!(first.end(Duration::from_secs(10)).await.success());
    let took = told.elapsed();

    let second = stage.process(&[]);
    eventually("it comes again", Duration::from_secs(20), async || stage.is_done(&load).then_some(())).await;
    end(second).await;
    stage.account(&load, format!("ended {:.1} s after the second signal", took.as_secs_f64())).await
}

/// Tells a process to end. It does, and says that all is well.
async fn end(mut process: Process) {
    process.terminate();
    assert!(process.end(SOON).await.success());
}

/// A number below `limit`, a different one each time.
fn below(limit: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    usize::try_from(RandomState::new().hash_one(0)).unwrap() % limit
}
