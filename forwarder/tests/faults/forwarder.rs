//! The real program as a child process.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testbed::eventually;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) struct Forwarder {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) addr: SocketAddr,
}

impl Forwarder {
    /// Starts it with one open source, `shop`, and waits until it listens.
    pub(crate) async fn start(queue_url: &str, settings: &[(&str, &str)]) -> Forwarder {
        let mut child = Command::new(env!("CARGO_BIN_EXE_webhook-forwarder"))
            .env_clear()
            .env("LISTEN", "127.0.0.1:0")
            .env("SOURCE_SHOP_OPEN", "yes")
            .env("QUEUE_URL", queue_url)
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        collect(&log, child.stdout.take().unwrap());
        collect(&log, child.stderr.take().unwrap());
        let addr = eventually("the forwarder listens", Duration::from_secs(10), async || {
            let log = log.lock().unwrap();
            let line = log.iter().find_map(|line| line.split_once("listening on http://"))?;
            line.1.split_whitespace().next()?.parse().ok()
        })
        .await;
        Forwarder { child, log, addr }
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await.expect("it stops").unwrap().code()
    }

    pub(crate) fn logged(&self, part: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(part))
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }
}

fn collect(log: &Arc<Mutex<Vec<String>>>, stream: impl tokio::io::AsyncRead + Send + Unpin + 'static) {
    let log = Arc::clone(log);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            log.lock().unwrap().push(line);
        }
    });
}
