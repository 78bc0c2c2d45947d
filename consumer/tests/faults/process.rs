//! The consumer that the faults happen to, as an app would write it: in a process of its own, or in this one.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use testbed::eventually;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use webhook_consumer::{Attempt, Consumer, Env, Event, Handle, Outcome, Router, State, Summary};

use crate::common::SOON;

/// Where handlers note what they do. What was written is kept when the process dies.
#[derive(Clone)]
pub(crate) struct Journal(Arc<PathBuf>);

impl Journal {
    pub(crate) fn at(file: PathBuf) -> Journal {
        Journal(Arc::new(file))
    }

    pub(crate) fn note(&self, what: &str, id: &str, process: u32) {
        let mut file = OpenOptions::new().append(true).create(true).open(&*self.0).unwrap();
        file.write_all(format!("{what} {id} {process}\n").as_bytes()).unwrap();
    }

    pub(crate) fn read(&self) -> String {
        std::fs::read_to_string(&*self.0).unwrap_or_default()
    }

    /// The handlers that wait at the gate go on when this file exists.
    fn gate(&self) -> PathBuf {
        self.0.with_extension("open")
    }

    pub(crate) fn open_gate(&self) {
        std::fs::write(self.gate(), "").unwrap();
    }

    fn begun(&self, id: &str) -> usize {
        self.read().lines().filter(|line| line.starts_with(&format!("begun {id} "))).count()
    }
}

/// `consume JOURNAL NAME=VALUE...`: the whole program.
pub(crate) async fn consume(arguments: &[String]) {
    let journal = Journal::at(arguments[0].clone().into());
    let pairs = arguments[1..].iter().map(|pair| pair.split_once('=').unwrap());
    Consumer::with_env(Env::from_pairs(pairs)).unwrap().run(router(journal)).await.unwrap();
}

fn router(journal: Journal) -> Router {
    Router::new().on("*/*", obeys).with_state(journal)
}

/// Bodies say what the handler does, and how many milliseconds that takes.
async fn obeys(State(journal): State<Journal>, Attempt(attempt): Attempt, event: Event) -> Outcome {
    let note = |what| journal.note(what, &event.id, std::process::id());
    note("begun");
    let body = std::str::from_utf8(&event.body).unwrap();
    let (word, milliseconds) = body.rsplit_once(' ').unwrap();
    let duration = Duration::from_millis(milliseconds.parse().unwrap());
    match word {
        "hangs once" if journal.begun(&event.id) > 1 => {}
        word if word.starts_with("at the gate") => {
            while !journal.gate().exists() {
                sleep(Duration::from_millis(20)).await;
            }
            sleep(duration).await;
        }
        _ => sleep(duration).await,
    }
    if word == "kills" {
        std::process::abort();
    }
    if word.ends_with("fails once") && attempt == 1 {
        note("failed");
        return Outcome::failed("it was told to fail");
    }
    if word.ends_with("gives up") {
        note("given-up");
        return Outcome::dead_letter("it was told to give up");
    }
    note("done");
    Outcome::Done
}

/// A process that does not outlive its owner.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// This very program, told to consume.
    pub(crate) fn consume(journal: &Journal, settings: &[String]) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        Process(command.arg("consume").arg(&*journal.0).args(settings).spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    pub(crate) async fn end(&mut self, within: Duration) -> ExitStatus {
        eventually("the process ends", within, async || self.ended()).await
    }

    pub(crate) async fn kill(&mut self) {
        self.0.kill().unwrap();
        self.end(SOON).await;
    }

    pub(crate) fn terminate(&self) {
        let killed = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }
}

/// A consumer in this process, to be looked at and steered.
pub(crate) struct Attended {
    pub(crate) handle: Handle,
    task: JoinHandle<Summary>,
}

impl Attended {
    pub(crate) fn start(journal: &Journal, settings: Vec<(String, String)>) -> Attended {
        let consumer = Consumer::with_env(Env::from_pairs(settings)).unwrap();
        let (handle, task) = consumer.start(router(journal.clone())).unwrap();
        Attended { handle, task }
    }

    /// Ends it. Everything had been handled, so nothing may be interrupted.
    pub(crate) async fn drain(self) -> Summary {
        self.handle.drain();
        let summary = tokio::time::timeout(SOON, self.task).await.expect("it drains").unwrap();
        assert_eq!(summary.interrupted, 0);
        summary
    }
}
