//! Where a connection stands, and how long it may stand there.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::io::{self, IoSlice};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longer than the idle time of the usual load balancers, so that they are the ones who close.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a head may take when another caller needs the place. Heads are a packet or two, and this is enough for those
/// to be lost and sent again, twice.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// For what happens between the deadlines.
const SLACK: Duration = Duration::from_secs(1);

/// The configured times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) read: Duration,
    pub(super) publish: Duration,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The end of a request's headers.
    Head,
    /// Our answer, and before that the body.
    Request,
    /// Another request.
    Idle,
}

/// The phase of one connection, shared by its socket, its service and its supervisor.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    body_was_read: bool,
}

impl Timeouts {
    /// Longer than a request takes that waits for room, is read as slowly as allowed, and meets a queue that stalls.
    pub(super) fn longest_request(self) -> Duration {
        self.read * 2 + self.publish + SLACK
    }

    fn of(self, phase: Phase) -> Duration {
        match phase {
            Phase::Head => self.read,
            Phase::Request => self.longest_request(),
            Phase::Idle => KEEP_ALIVE,
        }
    }
}

impl Progress {
    /// The first byte is there.
    pub(super) fn new() -> Progress {
        let state = State { phase: Phase::Head, since: Instant::now(), body_was_read: true };
        Progress { state: Arc::new(Mutex::new(state)) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn phase(&self) -> Phase {
        self.with(|state| state.phase)
    }

    pub(super) fn deadline(&self, timeouts: Timeouts) -> Instant {
        self.with(|state| state.since + timeouts.of(state.phase))
    }

    /// From when on the connection can be asked for its place: nothing that we have taken on is lost with it.
    pub(super) fn gives_way(&self) -> Option<Instant> {
        self.with(|state| match state.phase {
            Phase::Head => Some(state.since + HEAD_PATIENCE),
            Phase::Request => None,
            Phase::Idle => Some(state.since),
        })
    }

    fn bytes_arrived(&self) {
        self.with(|state| {
            if state.phase == Phase::Idle {
                (state.phase, state.since) = (Phase::Head, Instant::now());
            }
        });
    }

    /// The head has been read. Says when its first byte arrived.
    pub(super) fn request_began(&self) -> Instant {
        self.with(|state| {
            let now = Instant::now();
            // The head of a pipelined request arrived together with the request before it.
            let began = if state.phase == Phase::Head { state.since } else { now };
            (state.phase, state.since, state.body_was_read) = (Phase::Request, now, false);
            began
        })
    }

    fn body_read(&self) {
        self.with(|state| state.body_was_read = true);
    }

    /// The answer is ready.
    pub(super) fn answered(&self) {
        self.with(|state| (state.phase, state.since) = (Phase::Idle, Instant::now()));
    }

    /// Whether the last request was read to its end.
    pub(super) fn body_was_read(&self) -> bool {
        self.with(|state| state.body_was_read)
    }
}

/// A socket that tells when bytes arrive.
#[derive(Debug)]
pub(super) struct WatchedStream {
    pub(super) stream: TcpStream,
    pub(super) progress: Progress,
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.progress.bytes_arrived();
        }
        result
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request body that tells when it has been read to its end.
#[derive(Debug)]
pub(super) struct WatchedBody {
    body: Incoming,
    progress: Progress,
}

impl WatchedBody {
    pub(super) fn new(body: Incoming, progress: Progress) -> WatchedBody {
        if body.is_end_stream() {
            progress.body_read();
        }
        WatchedBody { body, progress }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) {
            self.progress.body_read();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
