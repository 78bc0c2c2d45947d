//! The arguments of the queues, as every half must declare them.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::QueueType;
use crate::topology::Topology;

/// Arguments of a queue: texts and whole numbers.
pub(crate) type Arguments = Map<String, Value>;

/// How often a dead letter may be handed back: without a limit of its own a quorum queue drops it after twenty times,
/// from RabbitMQ 4.0 on, and every look at it on the management page is one. Older brokers know no word for "never".
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The main queue, exactly as in the guide.
pub(crate) fn main_queue(topology: &Topology) -> Arguments {
    let mut arguments = Arguments::new();
    wait(&mut arguments, topology.ttl);
    if topology.queue_type == QueueType::Quorum {
        arguments.append(&mut quorum());
        dead_letter_safely(&mut arguments, &topology.dead_queue());
    }
    arguments
}

/// Quorum queues whatever the main queue is: a classic queue hands its expired messages on without any confirm, and
/// so may lose them on the way back.
#[cfg(feature = "rabbitmq")]
pub(crate) fn retry_queue(topology: &Topology, tier: Duration) -> Arguments {
    let mut arguments = quorum();
    wait(&mut arguments, tier);
    dead_letter_safely(&mut arguments, &topology.queue);
    arguments
}

/// A delivery limit of the broker's own must lead to the dead letters, not to nothing.
#[cfg(feature = "rabbitmq")]
pub(crate) fn suspect_queue(topology: &Topology) -> Arguments {
    let mut arguments = quorum();
    dead_letter_safely(&mut arguments, &topology.dead_queue());
    arguments
}

/// Where dead letters lie.
pub(crate) fn dead_queue() -> Arguments {
    let mut arguments = quorum();
    arguments.insert("x-delivery-limit".to_owned(), DEAD_DELIVERY_LIMIT.into());
    arguments
}

fn quorum() -> Arguments {
    Arguments::from_iter([("x-queue-type".to_owned(), "quorum".into())])
}

fn dead_letter_safely(arguments: &mut Arguments, target: &str) {
    for (name, value) in [
        ("x-dead-letter-exchange", ""),
        ("x-dead-letter-routing-key", target),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ] {
        arguments.insert(name.to_owned(), value.into());
    }
}

fn wait(arguments: &mut Arguments, at_most: Duration) {
    let milliseconds = i64::try_from(at_most.as_millis()).unwrap_or(i64::MAX);
    arguments.insert("x-message-ttl".to_owned(), milliseconds.into());
}
