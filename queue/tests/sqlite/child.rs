//! A second process: this test program run again, with a role in its environment.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testbed::Program;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use webhook_queue::{Delivery, Event, IdOrigin, Publish, Received, Settlement, Subscribe};

use crate::{publisher, subscriber};

const ROLE: &str = "SQLITE_TEST_ROLE";
const FILE: &str = "SQLITE_TEST_FILE";
/// What our lines begin with, among those of the test runner.
const MARK: &str = "@@ ";
const CALLERS: usize = 64;
const PREFETCH: u16 = 64;

/// The other process. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process(Program);

impl Process {
    /// Starts one in this role.
    pub(crate) fn start(role: &str, path: &Path) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::process", "--nocapture"]).env(ROLE, role).env(FILE, path);
        Process(Program::start(&mut command))
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// What it says next, by then. `None`: it has ended.
    pub(crate) fn says(&mut self, deadline: std::time::Instant) -> Option<String> {
        loop {
            let line = self.0.line(deadline)?;
            if let Some((_, said)) = line.split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    /// SIGKILL. Returns what it had still said.
    pub(crate) fn kill(&mut self) -> Vec<String> {
        let rest = self.0.kill();
        rest.iter().filter_map(|line| line.split_once(MARK)).map(|(_, said)| said.to_owned()).collect()
    }
}

fn say(what: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{what}").and_then(|()| out.flush()).unwrap();
}

/// Not a test of its own: what the other process runs.
#[test]
fn process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = std::path::PathBuf::from(std::env::var_os(FILE).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let words: Vec<&str> = role.split(' ').collect();
    runtime.block_on(async {
        match words[..] {
            ["publish", from, to] => publish(&path, from.parse().unwrap(), to.parse().unwrap()).await,
            ["handle"] => handle(&path).await,
            ["tick", ticks] => tick(&path, ticks.parse().unwrap()).await,
            ["idle"] => idle(&path).await,
            _ => panic!("no such role: {role}"),
        }
    });
}

/// Publishes the numbers from `from` to `to`, many at a time, and says which are confirmed.
async fn publish(path: &Path, from: u32, to: u32) {
    let publisher = publisher(path);
    let next = Arc::new(AtomicU32::new(from));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (publisher, next) = (publisher.clone(), Arc::clone(&next));
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= to {
                    return;
                }
                let mut event = Event::new("shop", "order", number.to_string());
                event.id = format!("order-{number}");
                event.id_origin = IdOrigin::Provider;
                while publisher.publish(&event, Instant::now() + Duration::from_secs(5)).await.is_err() {}
                say(number);
            }
        });
    }
    callers.join_all().await;
    publisher.close().await;
}

/// Says the number of each event, and acknowledges it afterwards. Suspects run alone.
async fn handle(path: &Path) {
    let mut subscriber = subscriber(path, PREFETCH);
    let mut handling = JoinSet::new();
    loop {
        match subscriber.next().await {
            Received::Delivery(delivery) => drop(handling.spawn(handle_one(delivery))),
            Received::Suspects => {
                while handling.join_next().await.is_some() {}
                while let Some(suspect) = subscriber.next_suspect().await {
                    handle_one(suspect).await;
                }
            }
        }
        while handling.try_join_next().is_some() {}
    }
}

async fn handle_one(delivery: Delivery) {
    say(crate::body(&delivery));
    // A lease can be lost to a stopped clock; the event then comes again.
    let _ = delivery.settle(Settlement::Ack).await;
}

/// Publishes the time, in microseconds, some times a second.
async fn tick(path: &Path, ticks: usize) {
    let publisher = publisher(path);
    for _ in 0..ticks {
        sleep(Duration::from_millis(70)).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let event = Event::new("clock", "tick", now.to_string());
        publisher.publish(&event, Instant::now() + Duration::from_secs(5)).await.unwrap();
    }
    publisher.close().await;
}

/// Receives, and nothing comes.
async fn idle(path: &Path) {
    let mut subscriber = subscriber(path, PREFETCH);
    subscriber.state().wait_for(|state| *state == webhook_queue::State::Receiving).await.unwrap();
    say("idle");
    drop(subscriber.next().await);
}
