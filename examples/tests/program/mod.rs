//! An example as a child process.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// No test waits longer for a line.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running example. It is killed when this is dropped.
pub(crate) struct Program {
    program: testbed::Program,
    stderr: File,
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
        let (file, stderr) = (built_example(name), tempfile::tempfile().unwrap());
        assert!(file.exists(), "{} is missing; `cargo build --examples` makes it", file.display());
        let mut command = Command::new(file);
        command.env_clear().envs(variables.iter().copied()).stderr(stderr.try_clone().unwrap());
        Program { program: testbed::Program::start(&mut command), stderr }
    }

    /// The lines printed since the last call, up to and with the first that has `part` in it.
    pub(crate) fn lines_until(&mut self, part: &str) -> Vec<String> {
        let start = self.program.seen().len();
        self.program.line_with(part, PATIENCE);
        self.program.seen()[start..].to_vec()
    }

    pub(crate) fn signal(&self, name: &str) {
        self.program.signal(name);
    }

    pub(crate) fn wait(mut self) -> End {
        let (code, stdout) = self.program.wait();
        let mut stderr = String::new();
        self.stderr.rewind().unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        End { code, stdout, stderr: stderr.lines().map(str::to_owned).collect() }
    }
}

/// Cargo builds the examples of a package with its tests, into the folder next to theirs.
fn built_example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(name)
}
