//! A publisher in a process of its own: this test program run again.

use std::process::Stdio;
use std::time::Duration;

use testbed::SqsStandIn;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use webhook_queue::{Env, Event, Publish, Publisher, QueueConfig, Role, chain};

use super::PATIENCE;

const ROLE: &str = "CREDENTIALS_ROLE";
const TEST: &str = "credentials::process::publishing";
pub(crate) const PUBLISHED: &str = "@@ published";
pub(crate) const FAILED: &str = "@@ failed";
/// An answer came after the deadline.
pub(crate) const LATE: &str = "@@ late";
const WAIT: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(400);

/// It publishes one event after the other and says what became of each, and whatever the libraries log.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: String,
}

impl Process {
    /// With nothing else in its environment. This machine's own credentials are none of its business.
    pub(crate) fn start(url: &str, variables: Vec<(&str, String)>) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env_clear()
            .envs([(ROLE, "publishing"), ("QUEUE_URL", url), ("AWS_EC2_METADATA_DISABLED", "true")])
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, lines, said: String::new() }
    }

    /// Reads on until it says this.
    pub(crate) async fn says(&mut self, what: &str) {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.said += &format!("{line}\n");
                if line.contains(what) {
                    return true;
                }
            }
            false
        };
        let heard = timeout(PATIENCE, reading).await;
        assert!(matches!(heard, Ok(true)), "never said: {what}\n{}", self.said);
    }

    /// Reads what it publishes until SQS has seen so many keys.
    pub(crate) async fn publishes_with(&mut self, keys: usize, server: &SqsStandIn) {
        let publishing = async {
            while server.signers().len() < keys {
                self.says(PUBLISHED).await;
            }
        };
        assert!(timeout(PATIENCE, publishing).await.is_ok(), "it uses no others than {:?}", server.signers());
    }

    /// Ends it. Everything that it said.
    pub(crate) async fn end(mut self) -> String {
        drop(self.child.stdin.take());
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.said += &format!("{line}\n");
        }
        assert!(self.child.wait().await.unwrap().success(), "{}", self.said);
        self.said
    }
}

/// Not a test of its own: what the other process runs.
#[tokio::test(flavor = "multi_thread")]
async fn publishing() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    // As the forwarder logs at the level trace.
    let levels = Targets::new().with_default(LevelFilter::TRACE).with_target("aws_smithy_runtime", LevelFilter::DEBUG);
    tracing_subscriber::registry().with(tracing_subscriber::fmt::layer()).with(levels).init();
    let mut env = Env::from_process();
    let config = QueueConfig::from_env(&mut env, Role::Forwarder);
    env.finish().unwrap();
    println!("{config:?}");
    let publisher = Publisher::open(&config).unwrap();
    println!("{publisher:?}");
    let publishing = async {
        loop {
            let deadline = Instant::now() + WAIT;
            match publisher.publish(&Event::new("shop", "order", "x"), deadline).await {
                Ok(()) => println!("{PUBLISHED}"),
                Err(error) => println!("{FAILED}: {}", chain(&error)),
            }
            if Instant::now() > deadline + SLACK {
                println!("{LATE}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let told_to_end = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    tokio::select! {
        () = publishing => {}
        end = told_to_end => drop(end.unwrap().unwrap()),
    }
}
