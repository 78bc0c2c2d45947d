//! Declaring and verifying the exchange, the queues and the binding.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Connection, ExchangeKind, Queue};
use tokio::time::timeout;

use super::link::missing;
use super::{CALL_TIMEOUT, short};
use crate::BoxError;
use crate::config::QueueType;
use crate::topology::{RETRY_TIERS, Topology};

/// How often a dead letter may be handed back: without a limit of its own a quorum queue drops it after twenty times,
/// from RabbitMQ 4.0 on, and every look at it on the management page is one. Older brokers know no word for "never".
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// Whether things are made or only looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Declare,
    Verify,
}

/// Something that is not as it should be, although one can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// The queue or exchange.
    pub(super) name: String,
    /// The argument that differs, where the broker names one.
    pub(super) argument: Option<String>,
    /// The broker's words.
    pub(super) reason: String,
}

/// The exchange and the main queue: what a forwarder needs, exactly as in the guide.
pub(super) async fn intake(
    connection: &Connection,
    topology: &Topology,
    mode: Mode,
) -> Result<Vec<Mismatch>, BoxError> {
    let mut asserter = Asserter { connection, mode, mismatches: Vec::new() };
    asserter.exchange(&topology.exchange).await?;
    asserter.queue(&topology.queue, main_arguments(topology)).await?;
    if topology.queue_type == QueueType::Quorum {
        asserter.queue(&topology.dead_queue(), dead_arguments()).await?;
    }
    Ok(asserter.mismatches)
}

/// The binding, where the routing key is the same for every event.
pub(super) async fn bind(connection: &Connection, topology: &Topology) -> Result<Vec<Mismatch>, BoxError> {
    let mut asserter = Asserter { connection, mode: Mode::Declare, mismatches: Vec::new() };
    if let Some(key) = topology.binding_key() {
        asserter.bind(&topology.queue, &topology.exchange, key).await?;
    }
    Ok(asserter.mismatches)
}

/// The queues that a consumer needs beside the main one.
pub(super) async fn settling(
    connection: &Connection,
    topology: &Topology,
    mode: Mode,
) -> Result<Vec<Mismatch>, BoxError> {
    let mut asserter = Asserter { connection, mode, mismatches: Vec::new() };
    for tier in RETRY_TIERS {
        asserter.queue(&topology.retry_queue(tier), retry_arguments(topology, tier)).await?;
    }
    asserter.queue(&topology.dead_queue(), dead_arguments()).await?;
    asserter.queue(&topology.suspect_queue(), suspect_arguments(topology)).await?;
    Ok(asserter.mismatches)
}

/// How many messages lie ready in a queue, or `None` where it does not exist.
pub(super) async fn count(connection: &Connection, queue: &str) -> Result<Option<u32>, BoxError> {
    match declare_queue(connection, queue, QueueDeclareOptions::durable().passive(), FieldTable::default()).await? {
        Ok(queue) => Ok(Some(queue.message_count())),
        Err(error) if missing(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn main_arguments(topology: &Topology) -> FieldTable {
    let mut arguments = FieldTable::default();
    milliseconds(&mut arguments, "x-message-ttl", topology.ttl);
    if topology.queue_type == QueueType::Quorum {
        text(&mut arguments, "x-queue-type", "quorum");
        dead_letter_safely(&mut arguments, &topology.dead_queue());
    }
    arguments
}

/// Quorum queues whatever the main queue is: a classic queue hands its expired messages on without any confirm, and
/// so may lose them on the way back.
fn retry_arguments(topology: &Topology, tier: Duration) -> FieldTable {
    let mut arguments = keeping_arguments();
    milliseconds(&mut arguments, "x-message-ttl", tier);
    dead_letter_safely(&mut arguments, &topology.queue);
    arguments
}

/// A delivery limit of the broker's own must lead to the dead letters, not to nothing.
fn suspect_arguments(topology: &Topology) -> FieldTable {
    let mut arguments = keeping_arguments();
    dead_letter_safely(&mut arguments, &topology.dead_queue());
    arguments
}

fn dead_arguments() -> FieldTable {
    let mut arguments = keeping_arguments();
    arguments.insert(short("x-delivery-limit"), AMQPValue::LongLongInt(DEAD_DELIVERY_LIMIT));
    arguments
}

fn keeping_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    text(&mut arguments, "x-queue-type", "quorum");
    arguments
}

fn dead_letter_safely(arguments: &mut FieldTable, target: &str) {
    text(arguments, "x-dead-letter-exchange", "");
    text(arguments, "x-dead-letter-routing-key", target);
    text(arguments, "x-dead-letter-strategy", "at-least-once");
    text(arguments, "x-overflow", "reject-publish");
}

fn text(arguments: &mut FieldTable, name: &str, value: &str) {
    arguments.insert(short(name), AMQPValue::LongString(LongString::from(value)));
}

fn milliseconds(arguments: &mut FieldTable, name: &str, value: Duration) {
    let value = i64::try_from(value.as_millis()).unwrap_or(i64::MAX);
    arguments.insert(short(name), AMQPValue::LongLongInt(value));
}

struct Asserter<'a> {
    connection: &'a Connection,
    mode: Mode,
    mismatches: Vec<Mismatch>,
}

impl Asserter<'_> {
    async fn exchange(&mut self, name: &str) -> Result<(), BoxError> {
        let options = ExchangeDeclareOptions {
            durable: true,
            passive: self.mode == Mode::Verify,
            ..ExchangeDeclareOptions::default()
        };
        let channel = open_channel(self.connection).await?;
        let declared = channel.exchange_declare(short(name), ExchangeKind::Direct, options, FieldTable::default());
        let declared = timeout(CALL_TIMEOUT, declared).await?;
        if declared.is_ok() {
            _ = timeout(CALL_TIMEOUT, channel.close(200, short("done"))).await?;
        }
        self.judge(name, declared)
    }

    async fn queue(&mut self, name: &str, arguments: FieldTable) -> Result<(), BoxError> {
        let options = QueueDeclareOptions::durable();
        let options = if self.mode == Mode::Verify { options.passive() } else { options };
        let declared = declare_queue(self.connection, name, options, arguments).await?;
        self.judge(name, declared.map(|_| ()))
    }

    async fn bind(&mut self, queue: &str, exchange: &str, key: &str) -> Result<(), BoxError> {
        let channel = open_channel(self.connection).await?;
        let bound = channel.queue_bind(
            short(queue),
            short(exchange),
            short(key),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        let bound = timeout(CALL_TIMEOUT, bound).await?;
        if bound.is_ok() {
            _ = timeout(CALL_TIMEOUT, channel.close(200, short("done"))).await?;
        }
        self.judge(queue, bound)
    }

    /// The broker's no is noted and one goes on; a broken connection is an error.
    fn judge(&mut self, name: &str, outcome: lapin::Result<()>) -> Result<(), BoxError> {
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if error.is_amqp_soft_error() => {
                let reason = error.to_string();
                let argument = reason.split_once("inequivalent arg '").and_then(|(_, rest)| rest.split('\'').next());
                let argument = argument.map(str::to_owned);
                self.mismatches.push(Mismatch { name: name.to_owned(), argument, reason });
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// On a channel of its own, because the broker's no closes the channel.
async fn declare_queue(
    connection: &Connection,
    name: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> Result<lapin::Result<Queue>, BoxError> {
    let channel = open_channel(connection).await?;
    let declared = timeout(CALL_TIMEOUT, channel.queue_declare(short(name), options, arguments)).await?;
    if declared.is_ok() {
        _ = timeout(CALL_TIMEOUT, channel.close(200, short("done"))).await?;
    }
    Ok(declared)
}

pub(super) async fn open_channel(connection: &Connection) -> Result<lapin::Channel, BoxError> {
    Ok(timeout(CALL_TIMEOUT, connection.create_channel()).await??)
}
