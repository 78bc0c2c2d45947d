//! Whoever has the credentials of a container, built from AWS's documentation of ECS and EKS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use webhook_queue::format_time;

/// What it wants to be shown.
pub(crate) const TOKEN: &str = "CanaryOfTheContainer";
const SECRET: &str = "CanaryOfTheKey";
const SESSION: &str = "CanaryOfTheSession";
const KEY: &str = "ASIACONTAINER";

/// What is answered to a request, by whether it showed the token.
type Answer = dyn Fn(bool) -> (u16, String) + Send + Sync;

#[derive(Debug)]
pub(crate) struct Provider {
    addr: SocketAddr,
}

impl Provider {
    /// It hands out others each time, which are good for so `long`.
    pub(crate) async fn start(long: Duration) -> Provider {
        let handed_out = AtomicUsize::new(0);
        Provider::answering(move |is_allowed| {
            if !is_allowed {
                return (403, "{}".to_owned());
            }
            let id = format!("{KEY}{}", handed_out.fetch_add(1, Ordering::Relaxed) + 1);
            let expiration = format_time(SystemTime::now() + long);
            let keys =
                json!({"AccessKeyId": id, "SecretAccessKey": SECRET, "Token": SESSION, "Expiration": expiration});
            (200, keys.to_string())
        })
        .await
    }

    /// It says the secret in an answer that nobody can read.
    pub(crate) async fn start_unreadable() -> Provider {
        Provider::answering(|_| (200, format!("<Credentials><SecretAccessKey>{SECRET}</Credentials>"))).await
    }

    async fn answering(answer: impl Fn(bool) -> (u16, String) + Send + Sync + 'static) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Provider { addr: listener.local_addr().unwrap() };
        let answer: Arc<Answer> = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer)));
            }
        });
        provider
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// The keys are its own, from the first on.
pub(crate) fn assert_handed_out(keys: &[String]) {
    let own: Vec<String> = (1..=keys.len()).map(|number| format!("{KEY}{number}")).collect();
    assert_eq!(keys, own);
}

pub(crate) fn assert_told_nobody(said: &str) {
    for secret in [TOKEN, SECRET, SESSION] {
        assert!(!said.contains(secret), "{secret} is in {said}");
    }
}

/// Nothing that is in a request's body matters.
async fn serve(mut stream: TcpStream, answer: Arc<Answer>) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let mut is_allowed = false;
    while let Ok(Some(line)) = lines.next_line().await {
        is_allowed |= line.to_lowercase().starts_with("authorization:") && line.ends_with(TOKEN);
        if !line.is_empty() {
            continue;
        }
        let (status, body) = answer(std::mem::take(&mut is_allowed));
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if write.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
