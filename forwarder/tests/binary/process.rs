//! The program as a child process, and the requests that it is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const PROGRAM: &str = env!("CARGO_BIN_EXE_webhook-forwarder");

/// Runs the program to its end, in an empty environment and folder.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(PROGRAM)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder.path())
        .output()
        .unwrap()
}

/// A forwarder that serves the queue `queue.db` in a folder of its own.
pub(crate) struct Forwarder {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Forwarder {
    /// With the source `demo`, open to everybody.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Forwarder {
        Forwarder::start_by(Command::new(PROGRAM), variables)
    }

    /// With at most this many open files.
    pub(crate) fn start_with_files(files: usize, variables: &[(&str, &str)]) -> Forwarder {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("ulimit -n {files}; exec {PROGRAM}")]);
        Forwarder::start_by(shell, variables)
    }

    fn start_by(mut command: Command, variables: &[(&str, &str)]) -> Forwarder {
        let folder = tempfile::tempdir().unwrap();
        let mut child = command
            .env_clear()
            .envs([("LISTEN", "127.0.0.1:0"), ("QUEUE_URL", "sqlite:queue.db"), ("SOURCE_DEMO_OPEN", "yes")])
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        pass_on(child.stdout.take().unwrap(), sender.clone());
        pass_on(child.stderr.take().unwrap(), sender);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut forwarder = Forwarder { child, lines, log: Vec::new(), address, folder };
        let line = forwarder.wait_for_line("listening on http://");
        let (_, address) = line.split_once("http://").unwrap();
        forwarder.address = address.split([' ', '"']).next().unwrap().parse().unwrap();
        forwarder
    }

    pub(crate) fn wait_for_line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no '{part}' in {:#?}", self.log));
            self.log.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn queue_file(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// The most memory that the process ever had is under four times the default `MAX_IN_FLIGHT_BYTES`.
    pub(crate) fn assert_memory_is_bounded(&self) {
        const BUDGET_KIB: usize = 64 * 1024;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        assert!(peak < 4 * BUDGET_KIB, "a peak of {peak} KiB");
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("/bin/sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end. Returns the exit code and everything that was printed.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.log.extend(self.lines.iter());
        (code, self.log.join("\n"))
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pass_on(output: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A request with a body and its length, and more header lines (each with its line break).
pub(crate) fn post(target: &str, headers: &[u8], body: &[u8]) -> Vec<u8> {
    let start = format!("POST {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    [start.as_bytes(), headers, b"\r\n", body].concat()
}

/// Sends everything and reads until the other side closes.
pub(crate) fn exchange(mut stream: TcpStream, request: &[u8]) -> String {
    // The answer may come before the request is through.
    let _ = stream.write_all(request);
    read_to_end(&mut stream)
}

pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).unwrap_or_else(|| panic!("no answer: {answer:?}")).parse().unwrap()
}
