//! Amazon SQS, played by ourselves: as much of its JSON protocol as its documentation promises to a queue's users, in
//! memory, and fast enough for a load.
//!
//! It knows no region, checks no credential and speaks plain HTTP. That it keeps SQS's promises is not to be believed
//! because it is ours: it passes the suite that moto passes.

mod actions;
mod answer;
mod message;
mod queue;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, OnceCell, oneshot};

use crate::sqs::{OWN_KEY, SqsQueue, SqsServer};
use actions::Queues;
use answer::{Answer, Refusal};

/// A stand-in of its own on 127.0.0.1. It ends with this value, or with the process.
#[derive(Debug)]
pub struct SqsStandIn {
    server: SqsServer,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    queues: Mutex<Queues>,
    /// Told when a message may have become visible.
    changed: Notify,
    /// What every request is answered, instead of being read.
    refusal: Mutex<Option<Refusal>>,
    /// How many requests there were for each action.
    requests: Mutex<HashMap<String, usize>>,
    /// The ids of the access keys that they were signed with, each once, in their order.
    signers: Mutex<Vec<String>>,
}

/// What becomes of a message that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It fails, as a request of its own does with this status and code.
    Fails(u16, &'static str),
    /// It is stored, and the answer does not say so.
    Unmentioned,
}

impl SqsStandIn {
    /// The stand-in of this test process, started by the first who asks.
    pub async fn shared() -> &'static SqsStandIn {
        static SHARED: OnceCell<SqsStandIn> = OnceCell::const_new();
        SHARED.get_or_init(SqsStandIn::start).await
    }

    /// A stand-in of the test's own.
    pub async fn start() -> SqsStandIn {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        // A runtime of its own: that of the test which starts it may end before others that use it.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let _ = tell.send(listener.local_addr().expect("it is bound"));
                tokio::select! {
                    () = serve(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        let addr: SocketAddr = told.await.expect("it listens");
        SqsStandIn { server: SqsServer::at(addr), shared, _stop: stop }
    }

    /// Lets the leases lapse of everything that is held of this queue, as if half a minute had gone by.
    pub fn let_leases_lapse(&self, queue: &SqsQueue<'_>) {
        lock(&self.shared.queues).lapse(queue.name());
        self.shared.changed.notify_waiters();
    }

    /// From now on every request is answered so: its status, and the code of the error.
    pub fn refuse(&self, status: u16, code: &'static str) {
        *lock(&self.shared.refusal) = Some(Refusal::wanted(status, code));
    }

    /// From now on this becomes of whatever is sent and contains `text`.
    pub fn doom(&self, text: &str, fate: Fate) {
        lock(&self.shared.queues).doom(text, fate);
    }

    /// How many requests for this action there were, whatever they were answered.
    pub fn requests(&self, action: &str) -> usize {
        lock(&self.shared.requests).get(action).copied().unwrap_or_default()
    }

    /// The ids of the access keys with which requests were signed, each once, in the order in which they came. The test
    /// bed's own are not among them.
    pub fn signers(&self) -> Vec<String> {
        lock(&self.shared.signers).clone()
    }

    /// Ends [`refuse`](SqsStandIn::refuse).
    pub fn accept(&self) {
        *lock(&self.shared.refusal) = None;
    }
}

impl Deref for SqsStandIn {
    type Target = SqsServer;

    fn deref(&self) -> &SqsServer {
        &self.server
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer(&shared, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return answer::refused(&Refusal::unreadable()) };
    let action = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let action = action.strip_prefix("AmazonSQS.").unwrap_or_default().to_owned();
    *lock(&shared.requests).entry(action.clone()).or_default() += 1;
    note_signer(shared, &head);
    if let Some(refusal) = &*lock(&shared.refusal) {
        return answer::refused(refusal);
    }
    let parameters: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    match act(shared, &action, &parameters).await {
        Ok(body) => answer::given(&body),
        Err(refusal) => answer::refused(&refusal),
    }
}

fn note_signer(shared: &Shared, head: &Parts) {
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signer = authorization.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next());
    let Some(signer) = signer.filter(|signer| *signer != OWN_KEY) else { return };
    let mut signers = lock(&shared.signers);
    if !signers.iter().any(|known| known == signer) {
        signers.push(signer.to_owned());
    }
}

async fn act(shared: &Shared, action: &str, parameters: &Value) -> Answer {
    if action == "ReceiveMessage" {
        return actions::receive(shared, parameters).await;
    }
    let answer = lock(&shared.queues).act(action, parameters);
    shared.changed.notify_waiters();
    answer
}
