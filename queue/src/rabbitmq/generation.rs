//! One life of the consuming connection: its channel, what it holds, and how that is settled.
//!
//! Deliveries belong to the generation that they came with. When anything about the connection or channel goes wrong the
//! whole generation is over; the supervisor builds the next one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use futures_util::StreamExt;

use super::acks::{ACK_ALONE_AFTER, Acks};
use super::lease::{AckBy, Hold, Lease};
use super::pool::Pool;
use super::topology::{self, Mismatch, Mode, open_channel};
use super::transport::{Dialed, Dialer, Switch};
use super::wire::{self, Message};
use super::{CALL_TIMEOUT, short};
use crate::BoxError;
use crate::subscribe::{Delivery, LeaseLost};
use crate::topology::Topology;

/// How long a settled delivery may wait for company before it is acked.
const ACK_WINDOW: Duration = Duration::from_millis(2);
/// An ack is sent at once when this part of the prefetch waits for it.
const ACK_BATCH_OF_PREFETCH: usize = 4;

/// What all deliveries of one generation share.
pub(super) struct Generation {
    pub(super) topology: Arc<Topology>,
    pub(super) pool: Pool,
    over: CancellationToken,
    orphaned: AtomicBool,
    closing: CancellationToken,
    channel: Channel,
    acks: Mutex<Acks>,
    /// Held while acks are taken and sent, so that whoever has had it knows that all before are on their way.
    flushing: tokio::sync::Mutex<()>,
    ack_now: Notify,
    ack_batch: usize,
    dropped: mpsc::UnboundedSender<Hold>,
    assert_wanted: Notify,
}

/// The generation together with its connection: held by the supervisor alone.
pub(super) struct Running {
    pub(super) generation: Arc<Generation>,
    pub(super) consumer: Option<Consumer>,
    connection: Arc<lapin::Connection>,
    switch: Switch,
    side: Option<Channel>,
    pub(super) dropped: mpsc::UnboundedReceiver<Hold>,
    /// What was dropped and is being handed back.
    releasing: JoinSet<()>,
}

impl Generation {
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Whether the broker has cancelled the consumer, which it does when the queue is deleted: then nobody but us has
    /// what came over this channel, and no broker brings it again. So it is still ours to handle, until the subscriber
    /// closes. Should the queue have been alive, the event comes twice.
    pub(super) fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Acquire) && !self.closing.is_cancelled()
    }

    /// Notes that a delivery is to be acked.
    pub(super) fn settle(&self, tag: u64) -> Result<(), LeaseLost> {
        if self.is_orphaned() {
            return Ok(());
        }
        if self.is_over() {
            return Err(LeaseLost);
        }
        let waiting = self.acks().settle(tag, Instant::now());
        if waiting == 1 || waiting == self.ack_batch {
            self.ack_now.notify_one();
        }
        Ok(())
    }

    /// Gives a delivery back, and only then forgets it: until the broker has it back, no ack of many may cover it.
    pub(super) async fn requeue(&self, tag: u64, options: BasicNackOptions) -> Result<(), LeaseLost> {
        self.channel.basic_nack(tag, options).await.map_err(|_| LeaseLost)?;
        self.acks().forget(tag);
        Ok(())
    }

    /// A delivery was dropped unsettled.
    pub(super) fn hand_back(&self, hold: Hold) {
        // Nobody listens any more only if the generation is over, and then the broker has the event already.
        _ = self.dropped.send(hold);
    }

    /// Asks for missing queues to be declared again.
    pub(super) fn assert_topology(&self) {
        self.assert_wanted.notify_one();
    }

    pub(super) async fn assert_was_wanted(&self) {
        self.assert_wanted.notified().await;
    }

    /// Sleeps, but no longer than anything can come of it.
    pub(super) async fn sleep(&self, duration: Duration) {
        let end = if self.is_orphaned() { &self.closing } else { &self.over };
        _ = timeout(duration, end.cancelled()).await;
    }

    /// What this process still has in hand, by event id.
    pub(super) fn held_ids(&self) -> Vec<String> {
        self.acks().ids().map(str::to_owned).collect()
    }

    fn acks(&self) -> std::sync::MutexGuard<'_, Acks> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acks what is settled, in as few acks as possible, for as long as the generation lives.
    async fn keep_acking(self: Arc<Self>) {
        loop {
            let some_wait = self.acks().any_settled();
            let pause = if some_wait { ACK_ALONE_AFTER / 2 } else { Duration::from_secs(3600) };
            tokio::select! {
                () = self.over.cancelled() => return,
                () = self.ack_now.notified() => self.gather().await,
                () = tokio::time::sleep(pause) => {}
            }
            if self.flush(Instant::now()).await.is_err() {
                self.over.cancel();
                return;
            }
        }
    }

    /// Waits a moment for more to be settled.
    async fn gather(&self) {
        _ = timeout(ACK_WINDOW, self.ack_now.notified()).await;
    }

    /// Sends the acks that are due at that time.
    async fn flush(&self, due_at: Instant) -> lapin::Result<()> {
        let _turn = self.flushing.lock().await;
        let flush = self.acks().flush(due_at);
        if let Some(tag) = flush.up_to {
            self.channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
        }
        for tag in flush.alone {
            self.channel.basic_ack(tag, BasicAckOptions::default()).await?;
        }
        Ok(())
    }
}

impl Running {
    /// Connects, asserts the topology and sets the prefetch. What is not as it should be is returned beside it.
    pub(super) async fn start(
        dialer: &Dialer,
        topology: &Arc<Topology>,
        mode: Mode,
        prefetch: u16,
        pool: &Pool,
        closing: &CancellationToken,
    ) -> Result<(Running, Vec<Mismatch>), BoxError> {
        let Dialed { connection, switch } = dialer.dial(&super::publish::connection_name("consume")).await?;
        let cut_on_failure = CutOnDrop(switch.clone());
        let mismatches = assert(&connection, topology, mode).await?;
        let channel = open_channel(&connection).await?;
        timeout(CALL_TIMEOUT, channel.basic_qos(prefetch, BasicQosOptions::default())).await??;
        let (dropped, dropped_receiver) = mpsc::unbounded_channel();
        let generation = Arc::new(Generation {
            topology: Arc::clone(topology),
            pool: pool.clone(),
            over: CancellationToken::new(),
            orphaned: AtomicBool::new(false),
            closing: closing.clone(),
            channel,
            acks: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
            ack_now: Notify::new(),
            ack_batch: (usize::from(prefetch) / ACK_BATCH_OF_PREFETCH).max(2),
            dropped,
            assert_wanted: Notify::new(),
        });
        tokio::spawn(Arc::clone(&generation).keep_acking());
        cut_on_failure.disarm();
        let connection = Arc::new(connection);
        Ok((
            Running {
                generation,
                consumer: None,
                connection,
                switch,
                side: None,
                dropped: dropped_receiver,
                releasing: JoinSet::new(),
            },
            mismatches,
        ))
    }

    pub(super) async fn consume(&mut self) -> Result<(), BoxError> {
        let queue = short(&self.generation.topology.queue);
        let consume = self.generation.channel.basic_consume(
            queue,
            short(""),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        self.consumer = Some(timeout(CALL_TIMEOUT, consume).await??);
        Ok(())
    }

    /// Stops the consumer and returns what it had received and nobody has seen yet.
    pub(super) async fn stop_consuming(&mut self) -> Result<Vec<lapin::message::Delivery>, BoxError> {
        let Some(mut consumer) = self.consumer.take() else { return Ok(Vec::new()) };
        let cancel = self.generation.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        timeout(CALL_TIMEOUT, cancel).await??;
        let mut unseen = Vec::new();
        while let Some(delivery) = timeout(CALL_TIMEOUT, consumer.next()).await? {
            unseen.push(delivery?);
        }
        Ok(unseen)
    }

    /// Ends the generation, but leaves what it holds with whoever has it. The task puts back what is handed back, and
    /// ends when nothing is held any more.
    pub(super) fn orphan(&mut self) -> JoinHandle<()> {
        self.generation.orphaned.store(true, Ordering::Release);
        self.generation.over.cancel();
        let (_, nothing) = mpsc::unbounded_channel();
        let mut dropped = std::mem::replace(&mut self.dropped, nothing);
        tokio::spawn(async move {
            while let Some(hold) = dropped.recv().await {
                // Fails only when the subscriber closes.
                _ = hold.put_back().await;
            }
        })
    }

    /// Takes note of a message and of its place on the channel.
    pub(super) fn hold(&self, delivery: lapin::message::Delivery) -> Hold {
        let tag = delivery.delivery_tag;
        let message = Message { properties: delivery.properties, body: Bytes::from(delivery.data) };
        self.generation.acks().hold(tag, message.id().to_owned());
        self.with(message, AckBy::Tag(tag))
    }

    fn with(&self, message: Message, ack: AckBy) -> Hold {
        Hold {
            generation: Arc::clone(&self.generation),
            attempt: wire::attempt(&message.properties),
            first_received: wire::first_received(&message.properties).unwrap_or_else(SystemTime::now),
            message,
            ack,
        }
    }

    /// How many suspects wait.
    pub(super) async fn count_suspects(&self) -> Result<u32, BoxError> {
        Ok(topology::count(&self.connection, &self.generation.topology.suspect_queue()).await?.unwrap_or(0))
    }

    /// Takes one suspect. On a channel of its own, on which nothing else is ever unacked.
    pub(super) async fn take_suspect(&mut self) -> Result<Option<Delivery>, BoxError> {
        let side = match self.side.take().filter(|side| side.status().connected()) {
            Some(side) => side,
            None => open_channel(&self.connection).await?,
        };
        let queue = short(&self.generation.topology.suspect_queue());
        let got = timeout(CALL_TIMEOUT, side.basic_get(queue, BasicGetOptions::default())).await??;
        self.side = Some(side);
        let Some(got) = got else { return Ok(None) };
        let message = Message { properties: got.delivery.properties, body: Bytes::from(got.delivery.data) };
        let crashes = wire::crashes(&message.properties);
        Ok(Some(delivery(self.with(message, AckBy::Acker(got.delivery.acker)), crashes)))
    }

    pub(super) fn connection(&self) -> Arc<lapin::Connection> {
        Arc::clone(&self.connection)
    }

    /// Hands back what was dropped.
    pub(super) fn release(&mut self, hold: Hold) {
        while self.releasing.try_join_next().is_some() {}
        self.releasing.spawn(async move {
            // A lost lease means that the broker has it already.
            _ = hold.release().await;
        });
    }

    /// Hands back what was dropped, sends every ack and ends the connection politely, so that the broker has read them
    /// all.
    pub(super) async fn close(mut self) {
        while let Ok(hold) = self.dropped.try_recv() {
            self.release(hold);
        }
        let farewell = async {
            while self.releasing.join_next().await.is_some() {}
            self.generation.flush(Instant::now() + ACK_ALONE_AFTER).await?;
            self.generation.channel.close(200, short("bye")).await?;
            self.switch.leave(&self.connection).await
        };
        if !matches!(timeout(CALL_TIMEOUT, farewell).await, Ok(Ok(()))) {
            tracing::debug!("the broker did not answer the close of the consuming connection");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.generation.over.cancel();
        self.switch.off();
    }
}

/// Ends a connection that did not become a generation.
struct CutOnDrop(Switch);

impl CutOnDrop {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.off();
    }
}

/// The delivery that the app gets to see.
pub(super) fn delivery(hold: Hold, crashes: u32) -> Delivery {
    Delivery {
        event: Arc::new(wire::decode(&hold.message)),
        attempt: hold.attempt,
        crashes,
        first_received: hold.first_received,
        lease: crate::subscribe::Lease::RabbitMq(Lease::new(hold)),
    }
}

/// Declares or verifies everything.
pub(super) async fn assert(
    connection: &lapin::Connection,
    topology: &Topology,
    mode: Mode,
) -> Result<Vec<Mismatch>, BoxError> {
    let mut mismatches = topology::intake(connection, topology, mode).await?;
    if mode == Mode::Declare {
        mismatches.extend(topology::bind(connection, topology).await?);
    }
    mismatches.extend(topology::settling(connection, topology, mode).await?);
    Ok(mismatches)
}
