//! The supervisor: connects, sorts what arrives, answers the app, and rebuilds the consuming connection for ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::Consumer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dead_letters;
use super::generation::{Running, assert, delivery};
use super::inbox::Inbox;
use super::lease::Hold;
use super::pool::{Pool, jitter};
use super::subscribe::{Command, Subscriber};
use super::suspicion::Suspicion;
use super::topology::{Mismatch, Mode};
use super::transport::Dialer;
use super::{CALL_TIMEOUT, wire};
use crate::BoxError;
use crate::config::QueueConfig;
use crate::env::ConfigError;
use crate::subscribe::{Received, ReplayError, State};
use crate::topology::Topology;

/// How often exchange, binding and queues are asserted anew while all is well.
const ASSERT_INTERVAL: Duration = Duration::from_secs(60);
/// How often one looks for suspects that another process has left.
const SUSPECTS_INTERVAL: Duration = Duration::from_secs(5);
/// The pause before the next generation: the first and the longest. In between it doubles.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Starts a supervisor, and returns what the app holds of it.
pub(super) fn start(config: &QueueConfig, prefetch: u16) -> Result<Subscriber, ConfigError> {
    let dialer = Dialer::new(config)?;
    let pool = Pool::open(dialer.clone(), super::publish::connection_name("settle"), None);
    let inbox = Arc::new(Inbox::default());
    let (commands, commands_receiver) = mpsc::channel(1);
    let (state_sender, state) = watch::channel(State::Connecting);
    let announced = Arc::new(AtomicBool::new(false));
    let supervisor = Supervisor {
        dialer,
        pool,
        topology: Arc::new(Topology::new(config)),
        mode: if config.declare { Mode::Declare } else { Mode::Verify },
        prefetch,
        inbox: Arc::clone(&inbox),
        commands: commands_receiver,
        state: state_sender,
        announced: Arc::clone(&announced),
        paused: false,
        suspicion: Suspicion::new(prefetch),
        mismatches: Vec::new(),
        orphans: Vec::new(),
        replays: TaskTracker::new(),
        stop_replays: CancellationToken::new(),
        closing: CancellationToken::new(),
    };
    tokio::spawn(supervisor.run());
    Ok(Subscriber { inbox, commands, state, announced })
}

/// Owns the generations.
struct Supervisor {
    dialer: Dialer,
    pool: Pool,
    topology: Arc<Topology>,
    mode: Mode,
    prefetch: u16,
    inbox: Arc<Inbox>,
    commands: mpsc::Receiver<Command>,
    state: watch::Sender<State>,
    announced: Arc<AtomicBool>,
    paused: bool,
    suspicion: Suspicion,
    mismatches: Vec<Mismatch>,
    /// Of generations whose queue was deleted, until nothing of theirs is held any more.
    orphans: Vec<JoinHandle<()>>,
    replays: TaskTracker,
    stop_replays: CancellationToken,
    closing: CancellationToken,
}

/// Why a generation ended.
enum End {
    Failed(BoxError),
    /// The app is done with the subscriber, or has dropped it.
    Closed(Option<oneshot::Sender<()>>),
}

impl Supervisor {
    async fn run(mut self) {
        let (mut pause, longest) = RECONNECT_PAUSES;
        loop {
            let end = match self.connect().await {
                Ok(running) => {
                    pause = RECONNECT_PAUSES.0;
                    self.supervise(running).await
                }
                Err(end) => end,
            };
            let error = match end {
                End::Failed(error) => error,
                End::Closed(done) => return self.close(done).await,
            };
            self.inbox.forget_lost();
            self.state.send_replace(State::Connecting);
            tracing::warn!(queue.name = self.topology.queue, queue.peer = ?self.dialer, error, "not receiving; trying again");
            if let Err(End::Closed(done)) = self.wait(pause.mul_f64(0.5 + jitter() / 2.0)).await {
                return self.close(done).await;
            }
            pause = (pause * 2).min(longest);
        }
    }

    async fn close(self, done: Option<oneshot::Sender<()>>) {
        // What the app has dropped is put back first.
        _ = timeout(CALL_TIMEOUT, join_all(self.orphans)).await;
        self.closing.cancel();
        self.pool.close().await;
        if let Some(done) = done {
            _ = done.send(());
        }
    }

    /// Builds the next generation, while the app's commands go on being answered.
    async fn connect(&mut self) -> Result<Running, End> {
        let (dialer, topology, pool) = (self.dialer.clone(), Arc::clone(&self.topology), self.pool.clone());
        let (mode, prefetch, closing) = (self.mode, self.prefetch, self.closing.clone());
        let starting =
            tokio::spawn(async move { Running::start(&dialer, &topology, mode, prefetch, &pool, &closing).await });
        tokio::pin!(starting);
        let (mut running, mismatches) = loop {
            tokio::select! {
                started = &mut starting => break started.map_err(|error| End::Failed(error.into()))?.map_err(End::Failed)?,
                command = self.commands.recv() => self.answer_while_down(command)?,
            }
        };
        self.report(mismatches);
        if !self.paused {
            running.consume().await.map_err(End::Failed)?;
        }
        self.state.send_replace(if self.paused { State::Paused } else { State::Receiving });
        tracing::info!(queue.name = self.topology.queue, queue.peer = ?self.dialer, "receiving");
        Ok(running)
    }

    /// Waits before the next try, while the app's commands go on being answered.
    async fn wait(&mut self, pause: Duration) -> Result<(), End> {
        let sleep = tokio::time::sleep(pause);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return Ok(()),
                command = self.commands.recv() => self.answer_while_down(command)?,
            }
        }
    }

    fn answer_while_down(&mut self, command: Option<Command>) -> Result<(), End> {
        match command {
            None => return Err(End::Closed(None)),
            Some(Command::Close(done)) => return Err(End::Closed(Some(done))),
            Some(Command::Pause(done)) => {
                self.paused = true;
                _ = done.send(());
            }
            Some(Command::Resume(done)) => {
                self.paused = false;
                _ = done.send(());
            }
            Some(Command::Suspect(reply)) => _ = reply.send(None),
            Some(Command::Replay(_, reply)) => {
                _ = reply.send(Err(ReplayError { moved: 0, source: "the queue cannot be reached".into() }));
            }
        }
        Ok(())
    }

    /// Runs one generation to its end.
    async fn supervise(&mut self, mut running: Running) -> End {
        match self.serve(&mut running).await {
            Err(End::Closed(Some(done))) => {
                self.stop_replays.cancel();
                self.replays.close();
                // One that does not end by then may leave an event on the queue and among the dead letters.
                _ = timeout(CALL_TIMEOUT, self.replays.wait()).await;
                running.close().await;
                End::Closed(Some(done))
            }
            Err(end) => {
                self.suspicion.trust(running.generation.held_ids());
                end
            }
            Ok(never) => match never {},
        }
    }

    async fn serve(&mut self, running: &mut Running) -> Result<Infallible, End> {
        let generation = Arc::clone(&running.generation);
        let mut assert_at = interval_at(Instant::now() + ASSERT_INTERVAL, ASSERT_INTERVAL);
        let mut suspects_at = interval(SUSPECTS_INTERVAL);
        loop {
            tokio::select! {
                delivery = next_of(&mut running.consumer) => match delivery {
                    Some(delivery) => self.receive(running, delivery.map_err(failed)?),
                    None => {
                        self.orphans.retain(|task| !task.is_finished());
                        self.orphans.push(running.orphan());
                        return Err(failed("the broker cancelled the consumer (was the queue deleted?)"));
                    }
                },
                command = self.commands.recv() => self.answer(running, command).await?,
                Some(hold) = running.dropped.recv() => running.release(hold),
                () = generation.over() => return Err(failed("the channel is gone")),
                _ = suspects_at.tick() => self.look_for_suspects(running).await?,
                _ = assert_at.tick() => self.assert_again(running).await?,
                () = generation.assert_was_wanted() => self.assert_again(running).await?,
            }
        }
    }

    /// Sorts one message: to the app, on to the next retry queue, or to the suspects.
    fn receive(&mut self, running: &Running, received: lapin::message::Delivery) {
        let redelivered = received.redelivered;
        let hold = running.hold(received);
        let id = hold.message.id();
        if self.suspicion.falls_on(id, redelivered) && self.may_put_suspects_aside() {
            tracing::info!(event.id = id, "this event was in the hands of somebody who is gone; it will run alone");
            self.move_aside(hold, self.topology.suspect_queue());
        } else if let Some(delay) = wire::still_to_wait(&hold.message.properties) {
            self.move_aside(hold, self.topology.retry_queue(Topology::retry_tier(delay)));
        } else {
            self.inbox.put(Received::Delivery(delivery(hold, 0)));
        }
    }

    /// Without a queue for them, which we may not be allowed to make, suspects are run like all others.
    fn may_put_suspects_aside(&self) -> bool {
        let queue = self.topology.suspect_queue();
        !self.mismatches.iter().any(|mismatch| mismatch.name == queue)
    }

    fn move_aside(&self, hold: Hold, queue: String) {
        tokio::spawn(async move {
            let message = wire::again(&hold.message);
            // A lost lease means that the broker delivers the event again, and that it is sorted again.
            _ = hold.move_to(&queue, &message).await;
        });
    }

    async fn look_for_suspects(&mut self, running: &Running) -> Result<(), End> {
        if self.paused || self.announced.load(Ordering::Acquire) {
            return Ok(());
        }
        if running.count_suspects().await.map_err(failed)? > 0 {
            self.announced.store(true, Ordering::Release);
            self.inbox.put(Received::Suspects);
        }
        Ok(())
    }

    async fn assert_again(&mut self, running: &Running) -> Result<(), End> {
        let mismatches = assert(&running.connection(), &self.topology, self.mode).await.map_err(failed)?;
        self.report(mismatches);
        Ok(())
    }

    /// Logs what is not as it should be, when it begins to be so.
    fn report(&mut self, mismatches: Vec<Mismatch>) {
        for mismatch in mismatches.iter().filter(|mismatch| !self.mismatches.contains(mismatch)) {
            tracing::error!(
                queue.name = mismatch.name,
                queue.argument = mismatch.argument,
                reason = mismatch.reason,
                "the topology is not as configured; going on with it as it is"
            );
        }
        self.mismatches = mismatches;
    }

    async fn answer(&mut self, running: &mut Running, command: Option<Command>) -> Result<(), End> {
        match command {
            None => return Err(End::Closed(None)),
            Some(Command::Close(done)) => return Err(End::Closed(Some(done))),
            Some(Command::Pause(done)) => {
                self.paused = true;
                self.state.send_replace(State::Paused);
                let unseen = running.stop_consuming().await.map_err(failed)?;
                let unseen: Vec<Hold> = unseen.into_iter().map(|delivery| running.hold(delivery)).collect();
                join_all(unseen.iter().map(Hold::release)).await;
                _ = done.send(());
            }
            Some(Command::Resume(done)) => {
                if std::mem::take(&mut self.paused) {
                    running.consume().await.map_err(failed)?;
                    self.state.send_replace(State::Receiving);
                }
                _ = done.send(());
            }
            Some(Command::Suspect(reply)) => {
                let suspect = if self.paused { None } else { running.take_suspect().await.map_err(failed)? };
                _ = reply.send(suspect);
            }
            Some(Command::Replay(most, reply)) => {
                let (connection, pool) = (running.connection(), self.pool.clone());
                let (topology, stop) = (Arc::clone(&self.topology), self.stop_replays.clone());
                self.replays.spawn(async move {
                    let go_on = || !stop.is_cancelled() && !reply.is_closed();
                    let outcome = dead_letters::replay(&connection, &pool, &topology, most, go_on).await;
                    _ = reply.send(outcome);
                });
            }
        }
        Ok(())
    }
}

async fn next_of(consumer: &mut Option<Consumer>) -> Option<lapin::Result<lapin::message::Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

fn failed(error: impl Into<BoxError>) -> End {
    End::Failed(error.into())
}
