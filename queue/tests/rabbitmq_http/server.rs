//! A server that answers as it is told: for what a real broker says only in states that cannot be brought about here, and
//! for connections that end when nobody expects it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it does with a publish request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer(u16, String),
    /// Ends the connection without a word.
    HangUp,
    /// Says nothing, and keeps the connection open.
    Silence,
}

/// A publish request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The number of its connection, from 1 on.
    pub(crate) connection: usize,
    /// How many reads it took to have all of it.
    pub(crate) reads: usize,
    pub(crate) head: String,
    pub(crate) body: Value,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    questions: Arc<Mutex<Act>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Script = dyn Fn(usize) -> Act + Send + Sync;

impl Server {
    /// Does to the n-th publish (from 0 on) what `script` says, and answers every question about alarms with `questions`: the
    /// exchange is there, unless that is not to answer.
    pub(crate) async fn start(questions: Act, script: impl Fn(usize) -> Act + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (script, number): (Arc<Script>, _) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
        let questions = Arc::new(Mutex::new(questions));
        let server = Server { addr, questions: Arc::clone(&questions), seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (questions, script, number, seen) =
                    (Arc::clone(&questions), Arc::clone(&script), Arc::clone(&number), Arc::clone(&seen));
                tokio::spawn(async move { serve(stream, &questions, &*script, &number, &seen).await });
            }
        });
        server
    }

    /// One that answers every publish like this.
    pub(crate) async fn answering(status: u16, body: impl ToString) -> Server {
        let body = body.to_string();
        Server::start(ok(), move |_| Act::Answer(status, body.clone())).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://user:s3cret@{}/api/exchanges/v/e-conomic.direct/publish", self.addr)
    }

    /// From now on every question about alarms is answered like this.
    pub(crate) fn answer_questions(&self, act: Act) {
        *self.questions.lock().unwrap() = act;
    }

    /// The publishes so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// How a healthy broker answers questions.
pub(crate) fn ok() -> Act {
    Act::Answer(200, json!({"status": "ok"}).to_string())
}

/// A publish that a queue has taken.
pub(crate) fn routed() -> Act {
    Act::Answer(200, json!({"routed": true}).to_string())
}

async fn serve(
    mut stream: TcpStream,
    questions: &Mutex<Act>,
    script: &Script,
    number: &AtomicUsize,
    seen: &Mutex<Vec<Seen>>,
) {
    let mut connection = None;
    while let Some((head, body, reads)) = request(&mut stream).await {
        let act = if head.starts_with("POST") {
            let number = number.fetch_add(1, Ordering::SeqCst);
            let mut seen = seen.lock().unwrap();
            let highest = seen.iter().map(|seen: &Seen| seen.connection).max().unwrap_or(0);
            let connection = *connection.get_or_insert(highest + 1);
            let body = serde_json::from_slice(&body).unwrap();
            seen.push(Seen { connection, reads, head, body });
            script(number)
        } else {
            match questions.lock().unwrap().clone() {
                Act::Answer(..) if !head.contains("/health/") => Act::Answer(200, "{}".to_owned()),
                act => act,
            }
        };
        match act {
            Act::Answer(status, body) => {
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Act::HangUp => return,
            Act::Silence => std::future::pending().await,
        }
    }
}

/// Head and body of the next request, and how many reads they came in.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>, usize)> {
    let (mut bytes, mut reads) = (Vec::new(), 0);
    loop {
        let mut piece = vec![0; 256 * 1024];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        reads += 1;
        bytes.extend_from_slice(&piece[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if bytes.len() >= end + 4 + length {
            let method = String::from_utf8(bytes[..end].to_vec()).unwrap();
            return Some((method, bytes[end + 4..].to_vec(), reads));
        }
    }
}
