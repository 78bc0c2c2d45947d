//! Reading a body: never more than allowed, never before there is room for it.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::admission::{Admission, Admitted};
use crate::answer::Refusal;

/// What bounds one reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most bytes that a body may have.
    pub(crate) bytes: usize,
    /// When the request must have been read, if we keep it waiting for nothing.
    pub(crate) deadline: Instant,
    /// How long it may wait for room.
    pub(crate) patience: Duration,
}

/// A body and the room that it takes. A queue that stalls may keep the bytes longer than their request lasts, so the
/// room is given back when the last of them is gone.
struct Held {
    body: Vec<u8>,
    _admitted: Admitted,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Reads the whole body, after waiting for room; says also for how long it had to wait.
pub(crate) async fn read<B>(
    body: B,
    limits: Limits,
    source: &str,
    admission: &Admission,
) -> Result<(Bytes, Duration), Refusal>
where
    B: Body<Data = Bytes>,
{
    let announced = body.size_hint();
    if announced.lower() > limits.bytes as u64 {
        return Err(Refusal::BodyTooLarge { limit: limits.bytes });
    }
    let exact = announced.exact().and_then(|exact| usize::try_from(exact).ok());
    let mut admitted = admission.admit(source, limits.patience).await?;
    if let Some(exact) = exact {
        admitted.make_room_for(exact).await?;
    }
    let mut body = collect(pin!(body), exact.unwrap_or(0), limits, &mut admitted).await?;
    body.shrink_to_fit();
    admitted.shrink_to(body.len());
    let waited = admitted.waited();
    Ok((Bytes::from_owner(Held { body, _admitted: admitted }), waited))
}

/// Copies the frames into one buffer, so that none of them keeps the connection's read buffer alive.
async fn collect<B>(
    mut body: Pin<&mut B>,
    capacity: usize,
    limits: Limits,
    admitted: &mut Admitted,
) -> Result<Vec<u8>, Refusal>
where
    B: Body<Data = Bytes>,
{
    let mut buffer = Vec::with_capacity(capacity);
    loop {
        // The time in which we kept the caller waiting is not the caller's.
        let frame = match timeout_at(limits.deadline + admitted.waited(), body.frame()).await {
            Err(_) => return Err(Refusal::Unreadable("the body did not arrive in time")),
            Ok(Some(Err(_))) => return Err(Refusal::Unreadable("the body ended early or is not well-formed")),
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(buffer),
        };
        let Ok(data) = frame.into_data() else { continue };
        let length = buffer.len() + data.remaining();
        if length > limits.bytes {
            return Err(Refusal::BodyTooLarge { limit: limits.bytes });
        }
        if !admitted.has_room_for(length) {
            admitted.make_room_for(limits.bytes).await?;
        }
        buffer.extend_from_slice(&data);
    }
}
