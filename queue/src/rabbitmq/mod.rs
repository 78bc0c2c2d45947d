//! RabbitMQ over AMQP 0-9-1.
//!
//! A webhook goes `publish` → `pool` → `link` → broker → `generation` → `supervisor` → `subscribe` → `lease`. Two connections,
//! one for each direction: the broker stops reading from a connection that publishes during an alarm, and acks must not
//! wait behind that.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod golden;
mod wire;

mod link;
mod pool;
mod publish;
mod transport;

mod acks;
mod dead_letters;
mod generation;
mod inbox;
mod lease;
mod subscribe;
mod supervisor;
mod suspicion;

mod admin;
mod topology;

pub(crate) use admin::{check, setup};
pub(crate) use lease::Lease;
pub(crate) use publish::Publisher;
pub(crate) use subscribe::Subscriber;

use std::time::Duration;

/// How long connecting may take: name, TCP, TLS and the AMQP handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one question to the broker (declare, qos, open a channel) may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A text for an AMQP name that was checked to be short enough when it was configured or derived. One that is not would
/// be no name at all, so that the mistake ends in the broker's refusal and not in a panic.
fn short(text: &str) -> lapin::types::ShortString {
    lapin::types::ShortString::try_new(text).unwrap_or_default()
}
