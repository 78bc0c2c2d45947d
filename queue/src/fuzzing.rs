//! Doors for this repository's fuzzer (`infra/fuzz`): what publishers write and consumers read, without a queue between.

use bytes::Bytes;

use crate::{BoxError, Event};

/// An event as it comes back from one kind of queue.
#[derive(Debug)]
pub struct Returned {
    /// The backend.
    pub queue: &'static str,
    /// What a consumer receives.
    pub event: Result<Event, BoxError>,
    /// Whether the time of receipt is kept to the microsecond, and not only to the second.
    pub keeps_received: bool,
}

/// Writes an event as each backend's publisher does, and reads it as the consumer does.
pub fn round_trips(event: &Event) -> [Returned; 4] {
    let returned = |queue, event, keeps_received| Returned { queue, event, keeps_received };
    [
        returned("rabbitmq", Ok(crate::rabbitmq::fuzzing::round_trip(event)), false),
        returned("rabbitmq_http", crate::rabbitmq_http::fuzzing::round_trip(event), false),
        returned("sqs", crate::sqs::fuzzing::round_trip(event), true),
        returned("sqlite", crate::sqlite::fuzzing::round_trip(event), true),
    ]
}

/// Reads a message of a stranger, as consumers do that find it on their queue: headers and body on RabbitMQ, and the body
/// alone on SQS. Panics where they would.
pub fn read_foreign(headers: &[(String, Bytes)], body: &Bytes) {
    crate::rabbitmq::fuzzing::read_foreign(headers, body);
    drop(crate::sqs::decode(&String::from_utf8_lossy(body)));
}
