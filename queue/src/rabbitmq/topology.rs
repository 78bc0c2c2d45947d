//! Declaring and verifying the exchange, the queues and the binding.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Connection, ExchangeKind, Queue};
use serde_json::Value;
use tokio::time::timeout;

use super::link::missing;
use super::{CALL_TIMEOUT, short};
use crate::BoxError;
use crate::broker::{Arguments, dead_queue, main_queue, retry_queue, suspect_queue};
use crate::config::QueueType;
use crate::topology::{RETRY_TIERS, Topology};

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
    asserter.queue(&topology.queue, main_queue(topology)).await?;
    if topology.queue_type == QueueType::Quorum {
        asserter.queue(&topology.dead_queue(), dead_queue()).await?;
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
        asserter.queue(&topology.retry_queue(tier), retry_queue(topology, tier)).await?;
    }
    asserter.queue(&topology.dead_queue(), dead_queue()).await?;
    asserter.queue(&topology.suspect_queue(), suspect_queue(topology)).await?;
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

/// The arguments as AMQP writes them.
fn table(arguments: Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Value::String(text) => AMQPValue::LongString(LongString::from(text)),
            number => AMQPValue::LongLongInt(number.as_i64().unwrap_or(i64::MAX)),
        };
        table.insert(short(&name), value);
    }
    table
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

    async fn queue(&mut self, name: &str, arguments: Arguments) -> Result<(), BoxError> {
        let options = QueueDeclareOptions::durable();
        let options = if self.mode == Mode::Verify { options.passive() } else { options };
        let declared = declare_queue(self.connection, name, options, table(arguments)).await?;
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
