//! Other programs, as child processes: what they print, and their end. None outlives its test, and none is waited for
//! without an end.

use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::wait::{LIMIT, PAUSE};

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Starts it. What it writes to its standard output is read, and to its standard error, where that is a pipe.
    pub fn start(command: &mut Command) -> Program {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program can be run");
        let (sender, lines) = channel();
        if let Some(errors) = child.stderr.take() {
            pass_on(errors, sender.clone());
        }
        pass_on(child.stdout.take().expect("it is a pipe"), sender);
        Program { child, lines, seen: Vec::new() }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("/bin/sh");
        assert!(run(kill.args(["-c", &format!("kill -{name} {}", self.id())])).status.success(), "SIG{name}");
    }

    /// The pipe to its standard input, where that is one, to be taken once.
    pub fn input(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Its next line. `None`: it has closed its outputs.
    ///
    /// # Panics
    /// With all that it has printed, when it prints nothing by the `deadline`.
    pub fn line(&mut self, deadline: Instant) -> Option<String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line in time after {:#?}", self.seen),
        }
    }

    /// Its next line with `part` in it.
    ///
    /// # Panics
    /// With all that it has printed, when there is none `within` this time.
    pub fn line_with(&mut self, part: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
        panic!("no '{part}' within {within:?} in {:#?}", self.seen);
    }

    /// All lines that were asked for so far.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Kills it with SIGKILL. Returns the lines that nobody had asked for.
    pub fn kill(&mut self) -> Vec<String> {
        let asked = self.seen.len();
        self.child.kill().expect("it is our child");
        self.end();
        self.seen.split_off(asked)
    }

    /// Waits for its end. Returns the exit code, and all its lines.
    ///
    /// # Panics
    /// With all that it has printed, when it does not end within 240 s.
    pub fn wait(mut self) -> (Option<i32>, Vec<String>) {
        let status = self.end();
        (status.code(), std::mem::take(&mut self.seen))
    }

    fn end(&mut self) -> ExitStatus {
        let Some(status) = ended(&mut self.child) else {
            self.seen.extend(self.lines.try_iter());
            panic!("it does not end within {LIMIT:?} after {:#?}", self.seen);
        };
        let deadline = Instant::now() + LIMIT;
        while self.line(deadline).is_some() {}
        status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end, without input.
///
/// # Panics
/// With all that it has printed, when it does not end within 240 s.
pub fn run(command: &mut Command) -> Output {
    // Files: whatever it leaves behind may keep a pipe open.
    let mut outputs = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file"));
    let [stdout, stderr] = outputs.each_ref().map(|file| file.try_clone().expect("a second handle"));
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
    let status = ended(&mut child.expect("the program can be run"));
    let [stdout, stderr] = outputs.each_mut().map(|file| {
        let mut written = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut written)).expect("the file is ours");
        written
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match status {
        Some(status) => Output { status, stdout, stderr },
        None => panic!("{command:?} does not end within {LIMIT:?}: {}{}", text(&stdout), text(&stderr)),
    }
}

/// The end of a child process. `None`: there was none, and it was killed.
pub(crate) fn ended(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status);
        }
        std::thread::sleep(PAUSE);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// A line that was broken off says nothing.
fn pass_on(output: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        let (mut output, mut line) = (BufReader::new(output), Vec::new());
        while output.read_until(b'\n', &mut line).is_ok() && line.pop() == Some(b'\n') {
            if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}
