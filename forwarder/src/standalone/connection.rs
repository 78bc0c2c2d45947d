//! One connection, from its first byte to its close.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::Service;
use webhook_queue::Publish;

use super::Host;
use super::phase::{Phase, Progress, WatchedBody, WatchedStream};
use crate::answer::Refusal;
use crate::config::MAX_HEAD_BYTES;
use crate::service::MAX_HEADERS;

/// How long a caller may be silent when the host stops or another needs the place: one that has just connected, or has
/// its answer and does not close.
const LAST_CHANCE: Duration = Duration::from_millis(500);
/// How long a caller may take to read an answer that came before it had sent everything.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BUFFER_BYTES: usize = 16 * 1024;

/// Why a connection ended.
enum End {
    Closed(hyper::Result<()>),
    TimedOut(Phase),
    /// Before its head was there, another needed its place.
    GaveWay,
}

/// Serves one connection.
pub(super) async fn run<P: Publish + 'static>(host: &Arc<Host<P>>, stream: TcpStream, peer: IpAddr) {
    if !speaks(host, &stream).await {
        return;
    }
    // Fails only on a socket that is already dead.
    let _ = stream.set_nodelay(true);
    let progress = Progress::new();
    let service = service_fn(|request| respond(host, progress.clone(), peer, request));
    let stream = WatchedStream { stream, progress: progress.clone() };
    let mut connection = http1::Builder::new()
        // Whoever has sent everything may close its half, and still gets its webhook published and answered.
        .half_close(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let end = supervise(&mut connection, |connection| connection.graceful_shutdown(), host, &progress).await;

    let stream = connection.into_parts().io.into_inner().stream;
    match end {
        End::Closed(Ok(())) if progress.body_was_read() => {}
        End::Closed(Ok(())) => linger(host, stream, b"").await,
        End::Closed(Err(error)) if error.is_parse() => {
            tracing::info!("request refused: {error}");
            linger(host, stream, b"").await;
        }
        End::Closed(Err(error)) => tracing::debug!("connection lost: {error}"),
        End::TimedOut(Phase::Head) => {
            let refusal = Refusal::Unreadable("the request did not arrive in time");
            tracing::info!("request refused: {refusal}");
            linger(host, stream, raw(&refusal).as_bytes()).await;
        }
        End::GaveWay => {
            let refusal = Refusal::Overloaded;
            tracing::info!("request given up before its headers had arrived: {refusal}");
            // The place is needed now: nobody waits for what the socket does not take at once.
            let _ = stream.try_write(raw(&refusal).as_bytes());
        }
        End::TimedOut(phase) => tracing::debug!(?phase, "connection closed: nothing happened in time"),
    }
}

/// Waits for the first byte, or for the end of the connection, which is hyper's to read.
async fn speaks<P>(host: &Host<P>, stream: &TcpStream) -> bool {
    let mut first_byte = [0];
    let last_chance = async {
        host.stop.cancelled().await;
        sleep(LAST_CHANCE).await;
    };
    tokio::select! {
        biased;
        first = timeout(host.timeouts.read, stream.peek(&mut first_byte)) => matches!(first, Ok(Ok(_))),
        () = last_chance => false,
        () = gives_way(host) => false,
    }
}

/// Waits until the place of a connection on which nothing happens is needed.
async fn gives_way<P>(host: &Host<P>) {
    sleep(LAST_CHANCE).await;
    host.make_room.notified().await;
}

/// Drives the connection until it ends, or must end: its time is over, another needs its place, or the host stops.
async fn supervise<C, P>(connection: &mut C, finish: impl Fn(Pin<&mut C>), host: &Host<P>, progress: &Progress) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut timer = pin!(sleep_until(progress.deadline(host.timeouts)));
    let mut stop = pin!(host.stop.cancelled());
    let mut make_room = pin!(host.make_room.notified());
    let mut finishing = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(End::Closed(result));
            }
            let (deadline, gives_way) = (progress.deadline(host.timeouts), progress.gives_way());
            let is_head = progress.phase() == Phase::Head;
            let yet_to_give_way = gives_way.filter(|from| *from > Instant::now());
            if gives_way.is_none() || yet_to_give_way.is_some() || (finishing && !is_head) {
                // Passes the call on to a connection that can give way.
                make_room.set(host.make_room.notified());
            } else if make_room.as_mut().poll(cx).is_ready() {
                if is_head {
                    return Poll::Ready(End::GaveWay);
                }
                finishing = true;
                finish(Pin::new(&mut *connection));
                continue;
            }
            if !finishing && stop.as_mut().poll(cx).is_ready() {
                finishing = true;
                finish(Pin::new(&mut *connection));
                continue;
            }
            let next = yet_to_give_way.map_or(deadline, |from| from.min(deadline));
            if timer.deadline() != next {
                timer.as_mut().reset(next);
            }
            ready!(timer.as_mut().poll(cx));
            if next == deadline {
                return Poll::Ready(End::TimedOut(progress.phase()));
            }
        }
    })
    .await
}

/// Hands one request to the core, with what the host knows about it.
fn respond<P: Publish + 'static>(
    host: &Arc<Host<P>>,
    progress: Progress,
    peer: IpAddr,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + use<P> {
    let began = progress.request_began();
    let arrival = host.callers.arrival(peer, request.headers(), began);
    let mut request = request.map(|body| WatchedBody::new(body, progress.clone()));
    request.extensions_mut().insert(arrival);
    let answer = host.forwarder.clone().call(request);
    let host = host.clone();
    async move {
        let mut response = answer.await?;
        if host.is_to_make_room().await || host.stop.is_cancelled() || !progress.body_was_read() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        progress.answered();
        Ok(response)
    }
}

/// Closes our half and reads on for a moment: a socket closed on unread bytes takes the answer along with it.
async fn linger<P>(host: &Host<P>, mut stream: TcpStream, last_words: &[u8]) {
    let farewell = async {
        stream.write_all(last_words).await?;
        stream.shutdown().await?;
        let mut scrap = vec![0; LINGER_BUFFER_BYTES];
        while stream.read(&mut scrap).await? > 0 {}
        io::Result::Ok(())
    };
    // The caller is gone, or slow: it makes no difference any more.
    tokio::select! {
        _ = timeout(LINGER, farewell) => {}
        () = gives_way(host) => {}
    }
}

/// An answer for when hyper has let go of the connection.
fn raw(refusal: &Refusal) -> String {
    let (response, body) = (refusal.response(), refusal.problem());
    let mut head = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
    }
    format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
