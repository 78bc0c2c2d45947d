//! A second process, to be killed: this test program run again, with a role in its environment.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use testbed::Program;
use tokio::time::Instant;
use webhook_queue::{Env, Event, Publish, Publisher, QueueConfig, Received, Role, Subscribe, Subscriber};

use crate::queue::{PATIENCE, Queue};

/// The same for every consumer of a queue, as it would be in an app.
pub(crate) const PREFETCH: u16 = 10;
const ROLE: &str = "CONTRACT_ROLE";
/// What our lines begin with, among those of the test runner.
const MARK: &str = "@@ ";

/// What the other process does, until it is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// Publishes one event after the other and prints the id of each that is confirmed.
    Publish,
    /// Takes as many ordinary deliveries and prints their ids.
    Hold(u16),
    /// Takes one suspect and prints its id.
    HoldSuspect,
}

/// The other process. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process(Program);

impl Process {
    pub(crate) fn start<Q: Queue>(queue: &Q, task: Task) -> Process {
        let (role, variables) = match task {
            Task::Publish => ("publish".to_owned(), queue.variables()),
            Task::Hold(count) => (format!("hold {count}"), queue.variables_to_subscribe()),
            Task::HoldSuspect => ("hold-suspect".to_owned(), queue.variables_to_subscribe()),
        };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::process", "--nocapture"]).env(ROLE, role).envs(variables);
        Process(Program::start(&mut command))
    }

    /// The next lines that it prints.
    pub(crate) async fn says(mut self, count: usize) -> (Process, Vec<String>) {
        let deadline = std::time::Instant::now() + PATIENCE * 2;
        let reading = tokio::task::spawn_blocking(move || {
            let mut said = Vec::new();
            while said.len() < count {
                said.extend(said_in(&self.0.line(deadline).expect("the child ended")));
            }
            (self, said)
        });
        reading.await.unwrap()
    }

    /// Kills it with SIGKILL, and returns what it had still said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.0.kill().iter().filter_map(|line| said_in(line)).collect()
    }
}

/// What of a line is ours.
fn said_in(line: &str) -> Option<String> {
    line.split_once(MARK).map(|(_, said)| said.to_owned())
}

/// Not a test of its own: what the other process runs.
#[test]
fn process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut env = Env::from_process();
    let half = if role == "publish" { Role::Forwarder } else { Role::Consumer };
    let config = QueueConfig::from_env(&mut env, half);
    env.finish().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match role.split_once(' ') {
            Some(("hold", count)) => hold(&config, count.parse().unwrap()).await,
            _ if role == "publish" => publish(&config).await,
            _ => hold_suspect(&config).await,
        }
    });
}

async fn publish(config: &QueueConfig) {
    let publisher = Publisher::open(config).unwrap();
    loop {
        let event = Event::new("shop", "order", "x");
        if publisher.publish(&event, Instant::now() + Duration::from_secs(5)).await.is_ok() {
            say(&event.id);
        }
    }
}

async fn hold(config: &QueueConfig, count: u16) {
    let mut subscriber = Subscriber::open(config, PREFETCH).unwrap();
    let mut held = Vec::new();
    while held.len() < usize::from(count) {
        if let Received::Delivery(delivery) = subscriber.next().await {
            say(&delivery.event().id);
            held.push(delivery);
        }
    }
    std::future::pending::<()>().await;
}

async fn hold_suspect(config: &QueueConfig) {
    let mut subscriber = Subscriber::open(config, PREFETCH).unwrap();
    loop {
        if let Received::Suspects = subscriber.next().await
            && let Some(suspect) = subscriber.next_suspect().await
        {
            say(&suspect.event().id);
            std::future::pending::<()>().await;
        }
    }
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{what}").and_then(|()| out.flush()).unwrap();
}
