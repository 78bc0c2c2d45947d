//! The core: one service that every host carries.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};
#[cfg(feature = "standalone")]
use webhook_queue::Counts;
use webhook_queue::{Publish, PublishError, Readiness};

use crate::admission::Admission;
use crate::answer::{self, Answered, Refusal};
use crate::body;
use crate::config::ForwarderConfig;
use crate::event::{DEFAULT_TYPE, event, is_type};
use crate::guard::{Guard, Untaken};
use crate::host::Host;
use crate::panics;
use crate::route::{Route, route};
use crate::sources::{Source, Sources, Taken, type_in_url};

/// Also the most that a host need make a URI of.
pub(crate) const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Also what the standalone host lets hyper read.
pub(crate) const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// `: ` and a line break.
const BYTES_AROUND_A_HEADER: usize = 4;

/// A publisher keeps its deadline itself, and tidies up after it. This is for one that does not.
const PUBLISH_SLACK: Duration = Duration::from_millis(100);
/// One part of `PUBLISH_TIMEOUT` in this many is the most that a webhook waits for room. With less time than the rest its
/// publishing might not end well.
const WAITING_PART: u32 = 2;

/// What the host knows about a request and the request does not: put it into the request's extensions.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who called, by the host's word. Without it no allow-list passes.
    pub client: Option<IpAddr>,
    /// When the first byte arrived.
    pub began: Instant,
    /// The last one had arrived by then, too: the host hands over whole requests. What it did since then is part of
    /// `PUBLISH_TIMEOUT`.
    pub whole: bool,
    /// The host's own name for this request, the same if it hands over the same one twice: it becomes the event's id.
    /// 1 to 128 printable ASCII characters.
    pub id: Option<String>,
    /// The host is one that loses bodies: an empty one proves nothing, and is answered 503.
    pub loses_bodies: bool,
}

impl Arrival {
    /// A request that has just begun to arrive.
    pub fn now(client: Option<IpAddr>) -> Arrival {
        Arrival { client, began: Instant::now(), whole: false, id: None, loses_bodies: false }
    }
}

/// Takes webhooks and answers 200 when the queue has confirmed them.
///
/// A `tower::Service` that never fails and is cheap to clone; call it concurrently from as many tasks as you like.
/// Dropping a response future gives the webhook up: it is on the queue or it is not, and nobody else is affected.
///
/// A body counts against `MAX_IN_FLIGHT` and `MAX_IN_FLIGHT_BYTES` until the publisher has let go of its bytes.
#[derive(Debug)]
pub struct Forwarder<P> {
    inner: Arc<Inner<P>>,
}

#[derive(Debug)]
struct Inner<P> {
    sources: Sources,
    admission: Admission,
    max_body_bytes: usize,
    publish_timeout: Duration,
    read_timeout: Duration,
    /// Only where the process stays.
    guard: Option<Guard>,
    answered: Mutex<Answered>,
    publisher: P,
}

/// Why a webhook was not taken, and its type where that had been read.
struct NotTaken {
    refusal: Refusal,
    event_type: Option<String>,
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> NotTaken {
        NotTaken { refusal, event_type: None }
    }
}

impl<P> Clone for Forwarder<P> {
    fn clone(&self) -> Forwarder<P> {
        Forwarder { inner: self.inner.clone() }
    }
}

impl<P: Publish> Forwarder<P> {
    /// A forwarder for these sources, publishing with `publisher`.
    pub fn new(config: &ForwarderConfig, publisher: P) -> Forwarder<P> {
        Forwarder {
            inner: Arc::new(Inner {
                sources: config.sources.clone(),
                admission: Admission::new(
                    config.max_in_flight,
                    config.max_in_flight_bytes,
                    config.max_body_bytes,
                    config.sources.names(),
                ),
                max_body_bytes: config.max_body_bytes,
                publish_timeout: config.publish_timeout,
                read_timeout: config.read_timeout,
                guard: (config.host == Host::Standalone).then(Guard::new),
                answered: Mutex::default(),
                publisher,
            }),
        }
    }

    /// How webhooks have been answered.
    #[cfg(feature = "standalone")]
    pub(crate) fn answered(&self) -> Answered {
        *self.inner.answered()
    }

    /// What became of their events.
    #[cfg(feature = "standalone")]
    pub(crate) fn counts(&self) -> Vec<(String, Counts)> {
        self.inner.publisher.counts()
    }

    /// Closes the publisher. Webhooks that arrive from here on are answered 503.
    pub async fn close(&self) {
        self.inner.publisher.close().await;
    }
}

impl<P, B> tower::Service<Request<B>> for Forwarder<P>
where
    P: Publish + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = self.inner.clone();
        Box::pin(async move { Ok(panics::answered(inner.answer(request)).await) })
    }
}

impl<P: Publish> Inner<P> {
    async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
    {
        let (request, body) = request.into_parts();
        if let Err(refusal) = check_form(&request) {
            return refuse_before_routing(&refusal);
        }
        match route(&self.sources, request.uri.path()) {
            Route::Alive => health(&request, || Readiness::Ready),
            Route::Ready => health(&request, || self.publisher.readiness()),
            Route::Unknown => refuse_before_routing(&Refusal::UnknownPath),
            Route::Webhook { source, event_type } => match self.take(source, event_type, &request, body).await {
                Ok(answer) => answer,
                Err(NotTaken { refusal, event_type: read }) => {
                    refusal.log(&source.name);
                    let query = request.uri.query().unwrap_or_default();
                    self.count(source, &refusal, read.or_else(|| type_in_url(query, event_type)));
                    refusal.response()
                }
            },
        }
    }

    /// Takes one webhook: first the proofs that cost nothing, then room, the body, the proof that needs it, the queue.
    /// Answers a handshake where its proof is complete.
    async fn take<B>(
        &self,
        source: &Source,
        type_in_path: Option<&str>,
        request: &Parts,
        body: B,
    ) -> Result<Response<Full<Bytes>>, NotTaken>
    where
        B: Body<Data = Bytes>,
    {
        if !source.methods().split(", ").any(|method| method == request.method.as_str()) {
            return Err(Refusal::Method { allowed: source.methods() }.into());
        }
        let arrival = request.extensions.get::<Arrival>().cloned().unwrap_or_else(|| Arrival::now(None));
        let now = SystemTime::now();

        let caller = source.verify_caller(request, arrival.client)?;
        if let Some(answer) = source.greet(request, now)? {
            return Ok(answer);
        }
        let claim = source.claim(request, now)?;

        let bytes = self.max_body_bytes.min(self.publisher.max_body_bytes());
        let (deadline, patience) = (arrival.began + self.read_timeout, self.publish_timeout / WAITING_PART);
        let limits = body::Limits { bytes, deadline, patience };
        let (body, waited) = body::read(body, limits, &source.name, &self.admission).await?;
        if body.is_empty() && arrival.loses_bodies && request.method != Method::GET {
            return Err(Refusal::BodyLost.into());
        }

        // From here on the provider waits for nobody but us, and it may have done so while there was no room.
        let received = if arrival.whole { arrival.began } else { Instant::now() - waited };
        let deadline = received + self.publish_timeout;
        let claim = source.ask(claim, &body, deadline).await?;
        let (facts, verified) = match source.take(claim, &caller, request, type_in_path, &body)? {
            Taken::Handshake(answer) => return Ok(answer),
            Taken::Event(facts, verified) => (facts, verified),
        };
        let event = event(source, facts, verified, &arrival, request, body)?;
        timeout_at(deadline + PUBLISH_SLACK, self.publisher.publish(&event, deadline))
            .await
            .unwrap_or(Err(PublishError::TimedOut))
            .map_err(|error| NotTaken {
                refusal: match error {
                    PublishError::TooLarge { limit } => Refusal::BodyTooLarge { limit },
                    error => Refusal::NotPublished(error),
                },
                event_type: Some(event.event_type.clone()),
            })?;
        self.answered().taken += 1;
        if let Some(guard) = &self.guard {
            guard.taken(source, &event.event_type);
        }
        tracing::debug!(source.name = source.name, event.id = event.id, body.bytes = event.body.len(), "webhook taken");
        Ok(answer::accepted(&event.id))
    }

    fn answered(&self) -> MutexGuard<'_, Answered> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, source: &Source, refusal: &Refusal, event_type: Option<String>) {
        self.answered().count(refusal);
        let Some(guard) = &self.guard else { return };
        let event_type = event_type.filter(|text| is_type(text)).unwrap_or_else(|| DEFAULT_TYPE.to_owned());
        let is_ours = refusal.status() == StatusCode::SERVICE_UNAVAILABLE;
        guard.count(source, if is_ours { Untaken::Failed(event_type) } else { Untaken::Refused });
    }
}

/// What every request must satisfy, wherever it goes.
fn check_form(request: &Parts) -> Result<(), Refusal> {
    let target = request.uri.path().len() + request.uri.query().map_or(0, |query| query.len() + 1);
    if target > MAX_TARGET_BYTES {
        return Err(Refusal::TargetTooLong { limit: MAX_TARGET_BYTES });
    }
    let bytes: usize =
        request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + BYTES_AROUND_A_HEADER).sum();
    if request.headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(Refusal::HeadersTooLarge { count: MAX_HEADERS, bytes: MAX_HEADER_BYTES });
    }
    // Any other coding would be stored still encoded, and a proxy might disagree about where the body ends.
    let mut codings = request.headers.get_all(TRANSFER_ENCODING).iter();
    let only_chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !only_chunked || codings.next().is_some() {
        return Err(Refusal::Unreadable("the transfer coding is not just chunked"));
    }
    Ok(())
}

fn health(request: &Parts, readiness: impl FnOnce() -> Readiness) -> Response<Full<Bytes>> {
    if request.method != Method::GET && request.method != Method::HEAD {
        return Refusal::Method { allowed: "GET, HEAD" }.response();
    }
    match readiness() {
        Readiness::Ready => answer::healthy(),
        Readiness::NotReady(reason) => {
            tracing::debug!(reason, "not ready");
            Refusal::NotReady.response()
        }
    }
}

fn refuse_before_routing(refusal: &Refusal) -> Response<Full<Bytes>> {
    refusal.log_before_routing();
    refusal.response()
}
