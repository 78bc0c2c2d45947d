//! A second process, to be killed: this test program run again, with a role in its environment.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

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
pub(crate) struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start<Q: Queue>(queue: &Q, task: Task) -> Process {
        let (role, variables) = match task {
            Task::Publish => ("publish".to_owned(), queue.variables()),
            Task::Hold(count) => (format!("hold {count}"), queue.variables_to_subscribe()),
            Task::HoldSuspect => ("hold-suspect".to_owned(), queue.variables_to_subscribe()),
        };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::process", "--nocapture"])
            .env(ROLE, role)
            .envs(variables)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Process { child, lines }
    }

    /// The next lines that it prints.
    pub(crate) async fn says(mut self, count: usize) -> (Process, Vec<String>) {
        let reading = tokio::task::spawn_blocking(move || {
            let mut said = Vec::new();
            while said.len() < count {
                said.push(self.line().expect("the child ended"));
            }
            (self, said)
        });
        tokio::time::timeout(PATIENCE * 2, reading).await.expect("the child says nothing").unwrap()
    }

    /// Kills it with SIGKILL, and returns what it had still said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.line()).collect()
    }

    /// A line that was broken off says nothing.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.lines.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
                return None;
            }
            if let Some((_, said)) = line.trim_end().split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
