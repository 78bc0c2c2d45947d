//! The program as a child process, and the requests that it is sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use testbed::Program;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What `MAX_IN_FLIGHT_BYTES` is by default.
pub(crate) const MAX_IN_FLIGHT_BYTES: usize = 64 * 1024 * 1024;
const PROGRAM: &str = env!("CARGO_BIN_EXE_webhook-forwarder");

/// Runs the program to its end, in an empty environment and folder.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(folder.path());
    testbed::run(&mut command)
}

/// A forwarder that serves the queue `queue.db` in a folder of its own.
pub(crate) struct Forwarder {
    program: Program,
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
        command
            .env_clear()
            .envs([("LISTEN", "127.0.0.1:0"), ("QUEUE_URL", "sqlite:queue.db"), ("SOURCE_DEMO_OPEN", "yes")])
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .stderr(Stdio::piped());
        let mut program = Program::start(&mut command);
        let line = program.line_with("listening on http://", PATIENCE);
        let (_, address) = line.split_once("http://").unwrap();
        let address = address.split([' ', '"']).next().unwrap().parse().unwrap();
        Forwarder { program, address, folder }
    }

    pub(crate) fn wait_for_line(&mut self, part: &str) -> String {
        self.program.line_with(part, PATIENCE)
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

    /// The most memory that the process ever had is under four times `MAX_IN_FLIGHT_BYTES`.
    pub(crate) fn assert_memory_is_bounded(&self, max_in_flight_bytes: usize) {
        let peak = self.peak_memory();
        assert!(peak < 4 * max_in_flight_bytes, "a peak of {peak} bytes");
    }

    /// The most memory that the process ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        1024 * line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        self.program.signal(name);
    }

    /// Waits for the end. Returns the exit code and everything that was printed.
    pub(crate) fn wait(self) -> (Option<i32>, String) {
        let (code, lines) = self.program.wait();
        (code, lines.join("\n"))
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
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
    let (mut answer, mut piece, began) = (Vec::new(), [0; 4096], Instant::now());
    loop {
        match stream.read(&mut piece).unwrap() {
            0 => return String::from_utf8(answer).unwrap(),
            read => answer.extend_from_slice(&piece[..read]),
        }
        assert!(began.elapsed() < PATIENCE, "it does not end: {}", String::from_utf8_lossy(&answer));
    }
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).unwrap_or_else(|| panic!("no answer: {answer:?}")).parse().unwrap()
}
