//! Two processes on one file, both killed again and again.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::child::Process;
use crate::{connection, count, fresh, publisher};

const EVENTS: u32 = 100_000;
const KILLS: u32 = 10;
/// No kill waits for more progress than this, so that all of them come before the end.
const MOST_PROGRESS: u32 = EVENTS / (KILLS + 2);
const LIMIT: Duration = Duration::from_secs(240);

/// Moments to kill at.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % MOST_PROGRESS + 1
    }
}

/// What one process has said: each number, and how often.
#[derive(Default)]
struct Said {
    distinct: HashSet<u32>,
    repeated: u32,
}

impl Said {
    fn add(&mut self, number: u32) {
        if !self.distinct.insert(number) {
            self.repeated += 1;
        }
    }
}

#[test]
fn what_was_confirmed_is_handled_although_both_processes_are_killed_ten_times() {
    let (_folder, path) = fresh();
    drop(publisher(&path));
    let seed = u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
    let start = Instant::now();

    let publishing = std::thread::spawn({
        let path = path.clone();
        move || publish_through_kills(&path, Dice(seed), start)
    });
    let handled = handle_through_kills(&path, Dice(!seed), start);
    let confirmed = publishing.join().unwrap();

    println!(
        "seed {seed}: {} confirmed ({} twice), {} handled ({} twice) in {:?}",
        confirmed.distinct.len(),
        confirmed.repeated,
        handled.distinct.len(),
        handled.repeated,
        start.elapsed()
    );
    assert_eq!(confirmed.distinct.difference(&handled.distinct).count(), 0, "events were lost");
    let integrity: String = connection(&path).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    assert_eq!(count(&connection(&path), "SELECT count(*) FROM events"), 0);
    assert_eq!(count(&connection(&path), "SELECT count(*) FROM dead_letters"), 0);
}

fn publish_through_kills(path: &Path, mut dice: Dice, start: Instant) -> Said {
    let mut confirmed = Said::default();
    for kill in 0..=KILLS {
        let from = (0..EVENTS).find(|number| !confirmed.distinct.contains(number)).unwrap_or(EVENTS);
        let mut process = Process::start(&format!("publish {from} {EVENTS}"), path);
        let mut patience = if kill < KILLS { dice.roll() } else { u32::MAX };
        while let Some(line) = process.says(start + LIMIT) {
            confirmed.add(line.parse().unwrap());
            patience -= 1;
            if patience == 0 {
                process.kill().iter().for_each(|line| confirmed.add(line.parse().unwrap()));
                break;
            }
        }
    }
    assert_eq!(confirmed.distinct.len(), EVENTS as usize);
    confirmed
}

fn handle_through_kills(path: &Path, mut dice: Dice, start: Instant) -> Said {
    let mut handled = Said::default();
    for kill in 0..=KILLS {
        let mut process = Process::start("handle", path);
        let mut patience = if kill < KILLS { dice.roll() } else { u32::MAX };
        while patience > 0 && (kill < KILLS || handled.distinct.len() < EVENTS as usize) {
            let line = process.says(start + LIMIT).expect("it handles until it is killed");
            handled.add(line.parse().unwrap());
            patience -= 1;
        }
        if kill == KILLS {
            wait_until_empty(path);
        }
        process.kill().iter().for_each(|line| handled.add(line.parse().unwrap()));
        // As if half a minute had gone by: nobody else holds anything.
        connection(path).execute("UPDATE deliveries SET lease_until = 1 WHERE lease IS NOT NULL", []).unwrap();
    }
    handled
}

/// The last copies of what was published twice are still being handled.
fn wait_until_empty(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while count(&connection(path), "SELECT count(*) FROM events") > 0 {
        assert!(Instant::now() < deadline, "events are left");
        std::thread::sleep(Duration::from_millis(50));
    }
}
