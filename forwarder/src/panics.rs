//! A panic is a failure of ours like any other: 503.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

use crate::answer::Refusal;

/// The answer that is being made, or 503 where making it panics. The panic itself is on stderr already.
pub(crate) async fn answered(answer: impl Future<Output = Response<Full<Bytes>>>) -> Response<Full<Bytes>> {
    let mut answer = pin!(answer);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))).unwrap_or_else(|_| {
            let refusal = Refusal::Failed("it panicked");
            refusal.log_before_routing();
            Poll::Ready(refusal.response())
        })
    })
    .await
}
