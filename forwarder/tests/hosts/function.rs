//! The program as a child process.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use testbed::eventually;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::PATIENCE;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_webhook-forwarder");

pub(crate) struct Function {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Function {
    /// Starts it with these variables and no others.
    pub(crate) fn start<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Function
    where
        N: AsRef<std::ffi::OsStr>,
        V: AsRef<std::ffi::OsStr>,
    {
        let mut command = Command::new(PROGRAM);
        command.env_clear().envs(variables).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        Function { child, log }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Whether every thread of it is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id().unwrap())).unwrap();
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
        })
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap()
    }

    /// The first line with this in it.
    pub(crate) async fn line(&self, part: &str) -> String {
        eventually(&format!("'{part}' is logged"), PATIENCE, async || {
            self.log.lock().unwrap().iter().find(|line| line.contains(part)).cloned()
        })
        .await
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}
