//! An example as a child process.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No test waits longer for a line.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running example. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    stderr: Option<JoinHandle<String>>,
}

/// What is left of an example.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Program {
    /// With no other variables than these.
    pub(crate) fn start(name: &str, variables: &[(&str, &str)]) -> Program {
        let file = built_example(name);
        let mut child = Command::new(&file)
            .env_clear()
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo build --examples` makes it", file.display()));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Program { child, lines, seen: Vec::new(), stderr: Some(stderr) }
    }

    /// The lines printed since the last call, up to and with the first that has `part` in it.
    pub(crate) fn lines_until(&mut self, part: &str) -> Vec<String> {
        let (start, deadline) = (self.seen.len(), Instant::now() + PATIENCE);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no '{part}' after {:#?}", self.seen));
            let found = line.contains(part);
            self.seen.push(line);
            if found {
                return self.seen[start..].to_vec();
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("/bin/sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn wait(mut self) -> End {
        let stderr = self.stderr.take().unwrap().join().unwrap();
        self.seen.extend(self.lines.iter());
        let code = self.child.wait().unwrap().code();
        End { code, stdout: std::mem::take(&mut self.seen), stderr: stderr.lines().map(str::to_owned).collect() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo builds the examples of a package with its tests, into the folder next to theirs.
fn built_example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(name)
}
