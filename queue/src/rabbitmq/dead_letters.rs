//! Moving dead letters back to the queue.

use std::time::Duration;

use bytes::Bytes;
use lapin::Connection;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use tokio::time::{Instant, timeout};

use super::pool::Pool;
use super::topology::{count, open_channel};
use super::wire::{self, Message};
use super::{CALL_TIMEOUT, short};
use crate::BoxError;
use crate::subscribe::ReplayError;
use crate::topology::Topology;

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Moves up to `most`, but none that arrives meanwhile: what fails again must not go round for ever. Between any two of
/// them it asks whether to go on.
pub(super) async fn replay(
    connection: &Connection,
    pool: &Pool,
    topology: &Topology,
    most: usize,
    go_on: impl Fn() -> bool,
) -> Result<usize, ReplayError> {
    let mut moved = 0;
    let failed = |moved, source| ReplayError { moved, source };
    let waiting = count(connection, &topology.dead_queue()).await.map_err(|error| failed(0, error))?;
    let most = most.min(usize::try_from(waiting.unwrap_or(0)).unwrap_or(usize::MAX));
    if most == 0 {
        return Ok(0);
    }
    let channel = open_channel(connection).await.map_err(|error| failed(0, error))?;
    while moved < most && go_on() {
        match replay_one(&channel, pool, topology).await {
            Ok(true) => moved += 1,
            Ok(false) => break,
            Err(error) => return Err(failed(moved, error)),
        }
    }
    // The acks are known to have been read when the broker answers this.
    match timeout(CALL_TIMEOUT, channel.close(200, short("done"))).await {
        Ok(Ok(())) if moved < most && !go_on() => Err(ReplayError::closed(moved)),
        Ok(Ok(())) => Ok(moved),
        Ok(Err(error)) => Err(failed(moved, error.into())),
        Err(late) => Err(failed(moved, late.into())),
    }
}

/// Publishes one dead letter as a fresh event, and only then acks it.
async fn replay_one(channel: &lapin::Channel, pool: &Pool, topology: &Topology) -> Result<bool, BoxError> {
    let get = channel.basic_get(short(&topology.dead_queue()), BasicGetOptions::default());
    let Some(got) = timeout(CALL_TIMEOUT, get).await?? else { return Ok(false) };
    let message = Message { properties: got.delivery.properties, body: Bytes::from(got.delivery.data) };
    let deadline = Instant::now() + PUBLISH_TIMEOUT;
    if let Err(error) = pool.publish("", &topology.queue, &wire::revived(&message), deadline).await {
        let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        channel.basic_nack(got.delivery.delivery_tag, requeue).await?;
        return Err(error.into());
    }
    channel.basic_ack(got.delivery.delivery_tag, BasicAckOptions::default()).await?;
    Ok(true)
}
