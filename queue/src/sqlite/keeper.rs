//! The thread behind a subscriber: claims, settles, and keeps the leases of everything that is held, however busy the
//! app's own threads are. All that came together since the last commit shares the next one.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::claim::{self, Agenda, Room, Taken};
use super::file::Identity;
use super::lease::{Lease, Pending};
use super::pass::{Pass, Window};
use super::settle::{self, Claimed};
use super::store::{Store, StoreError};
use super::wake::Waker;
use super::{dead_letters, millis, now_ms};
use crate::{Delivery, ReplayError, State, chain, subscribe};

/// How often an idle keeper looks whether another process has published.
const POLL: Duration = Duration::from_millis(20);
/// How often it wakes when there is nothing it could take.
const IDLE: Duration = Duration::from_secs(1);
/// How often the leases of everything held are extended: a third of how long they last.
const EXTEND_EVERY: Duration = Duration::from_secs(10);
/// How often the file is looked at, and its free pages given back, when nothing else happens.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);
/// How often a file that is not there is looked for.
const MISSING_RETRY: Duration = Duration::from_millis(50);
/// How long a failure of the file is left alone.
const FAILED_RETRY: Duration = Duration::from_secs(1);
/// How many bytes of bodies are held before no more is taken: the prefetch alone would allow any amount.
const HELD_BYTES: usize = 64 * 1024 * 1024;

/// What the async side asks for.
#[derive(Debug)]
pub(super) enum Command {
    Settle(Pending),
    TakeSuspect(oneshot::Sender<Option<Delivery>>),
    Replay(Replay),
    Pause(oneshot::Sender<()>),
    Resume,
    /// Something was published, or a pass starts over.
    Look,
    Close(oneshot::Sender<()>),
}

/// Dead letters on their way back.
#[derive(Debug)]
pub(super) struct Replay {
    most: usize,
    moved: usize,
    /// The youngest dead letter there was at the beginning.
    last: Option<i64>,
    answer: oneshot::Sender<Result<usize, ReplayError>>,
}

impl Replay {
    pub(super) fn new(most: usize, answer: oneshot::Sender<Result<usize, ReplayError>>) -> Replay {
        Replay { most, moved: 0, last: None, answer }
    }
}

/// Everything that outlives a connection to the file.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) path: PathBuf,
    pub(super) prefetch: usize,
    pub(super) ttl: Duration,
    /// What a drain takes; anybody else takes everything.
    pub(super) pass: Option<Pass>,
    pub(super) commands: Receiver<Command>,
    /// For the leases to answer through.
    pub(super) link: Sender<Command>,
    pub(super) waker: Arc<Waker>,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    pub(super) suspects: Arc<Notify>,
    pub(super) state: watch::Sender<State>,
    pub(super) work: Work,
}

/// What is held, and what is to be done.
#[derive(Debug, Default)]
pub(super) struct Work {
    previous: Option<Identity>,
    /// Everything held, with the size of its body.
    held: HashMap<Claimed, usize>,
    held_bytes: usize,
    extended_at: i64,
    pending: Vec<Pending>,
    takers: VecDeque<oneshot::Sender<Option<Delivery>>>,
    replays: VecDeque<Replay>,
    paused: bool,
    closing: Option<oneshot::Sender<()>>,
    agenda: Agenda,
    seen_version: Option<i64>,
    announced: Option<Instant>,
    housekeeping: Option<Instant>,
}

/// What one transaction did, to be told once it is committed.
#[derive(Default)]
struct Done {
    settled: Vec<bool>,
    lost: Vec<Claimed>,
    suspect: Option<Taken>,
    replayed: usize,
    taken: Vec<Taken>,
    agenda: Agenda,
}

impl Keeper {
    /// Works until it is closed. Whatever goes wrong with the file, it is opened again.
    pub(super) fn run(mut self) {
        let mut told = None;
        loop {
            let failure = match catch_unwind(AssertUnwindSafe(|| self.session())) {
                Ok(Ok(())) => break,
                Ok(Err(StoreError::Replaced)) => {
                    tracing::warn!(path = %self.path.display(), "the queue's file was deleted or replaced; opening it again");
                    continue;
                }
                Ok(Err(StoreError::Missing)) => None,
                Ok(Err(error)) => Some(chain(&error)),
                Err(_) => Some("the thread that reads it panicked".to_owned()),
            };
            self.show(State::Connecting);
            if told.as_ref() != Some(&failure) {
                let path = self.path.display();
                match &failure {
                    None => tracing::info!(%path, "waiting for the queue's file; the forwarder makes it"),
                    Some(error) => tracing::error!(%path, error, "the queue's file cannot be used; trying again"),
                }
                told = Some(failure.clone());
            }
            self.wait(if failure.is_none() { MISSING_RETRY } else { FAILED_RETRY });
            if self.work.closing.is_some() {
                break;
            }
        }
        if let Some(closed) = self.work.closing.take() {
            // Nobody may be waiting for it any more.
            let _ = closed.send(());
        }
    }

    /// Works on one opening of the file. `Ok`: closed.
    fn session(&mut self) -> Result<(), StoreError> {
        let mut store = Store::open(&self.path, self.work.previous)?;
        self.work.previous = Some(store.identity());
        self.work.seen_version = None;
        tracing::debug!(path = %self.path.display(), "the queue's file is open");
        loop {
            self.show(if self.work.paused { State::Paused } else { State::Receiving });
            self.gather(self.patience());
            self.look(&store)?;
            if self.has_work() {
                match self.turn(&mut store) {
                    Err(error) if error.is_busy() => tracing::debug!("the queue's file is busy; trying again"),
                    other => other?,
                }
            } else if self.work.closing.is_some() {
                return self.release_all(&mut store);
            } else {
                self.keep_house(&store)?;
            }
            self.announce_suspects();
        }
    }

    /// Takes in every command that is there, waiting for the first.
    fn gather(&mut self, patience: Duration) {
        // It cannot be disconnected: the link is one of the senders.
        let first = self.commands.recv_timeout(patience).ok();
        self.waker.rearm();
        let rest: Vec<Command> = self.commands.try_iter().collect();
        for command in first.into_iter().chain(rest) {
            self.take_in(command);
        }
    }

    fn take_in(&mut self, command: Command) {
        let work = &mut self.work;
        match command {
            Command::Settle(pending) => work.pending.push(pending),
            Command::TakeSuspect(taker) => work.takers.push_back(taker),
            Command::Replay(replay) => work.replays.push_back(replay),
            Command::Pause(paused) => {
                work.paused = true;
                // The pausing future may have been dropped.
                let _ = paused.send(());
            }
            Command::Resume => work.paused = false,
            Command::Look => work.seen_version = None,
            Command::Close(closed) => work.closing = Some(closed),
        }
    }

    /// Refreshes what the file holds for later, if another connection has changed it.
    fn look(&mut self, store: &Store) -> Result<(), StoreError> {
        let version = store.data_version()?;
        if self.work.seen_version != Some(version) {
            self.work.agenda = claim::agenda(store.connection(), self.window())?;
            self.work.seen_version = Some(version);
        }
        Ok(())
    }

    /// How long there will be nothing to do, as far as can be told.
    fn patience(&self) -> Duration {
        if self.has_work() || self.work.closing.is_some() || self.work.seen_version.is_none() {
            return Duration::ZERO;
        }
        if !self.may_claim() {
            return IDLE;
        }
        let until_due = self.work.agenda.due.map_or(i64::MAX, |due| due.saturating_sub(now_ms()));
        Duration::from_millis(u64::try_from(until_due).unwrap_or(0)).clamp(Duration::from_millis(1), POLL)
    }

    fn window(&self) -> Window {
        self.pass.as_ref().map_or(Window::ALL, Pass::window)
    }

    fn may_claim(&self) -> bool {
        let work = &self.work;
        !work.paused && work.closing.is_none() && work.held.len() < self.prefetch && work.held_bytes < HELD_BYTES
    }

    fn has_work(&self) -> bool {
        let (work, now) = (&self.work, now_ms());
        !(work.pending.is_empty() && work.takers.is_empty() && work.replays.is_empty())
            || self.must_extend(now)
            || (self.may_claim() && work.agenda.due.is_some_and(|due| due <= now))
    }

    /// By the wall clock, as the leases themselves: it goes on while the machine sleeps.
    fn must_extend(&self, now: i64) -> bool {
        let since = now.saturating_sub(self.work.extended_at);
        !self.work.held.is_empty() && !(0..millis(EXTEND_EVERY)).contains(&since)
    }

    /// Does everything that is to be done, in one transaction.
    fn turn(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let now = now_ms();
        let extend = self.must_extend(now);
        let mut window = self.window();
        store.verify()?;
        let transaction = store.begin()?;
        let mut done = Done::default();
        for pending in &self.work.pending {
            done.settled.push(settle::settle(&transaction, pending.claimed, &pending.settlement)?);
        }
        if extend {
            for claimed in self.work.held.keys() {
                if !claim::extend(&transaction, *claimed)? {
                    done.lost.push(*claimed);
                }
            }
        }
        if !self.work.takers.is_empty() {
            done.suspect = claim::claim_suspect(&transaction)?;
        }
        if let Some(Replay { most, moved, last, .. }) = self.work.replays.front_mut() {
            let last = match last {
                Some(last) => *last,
                None => *last.insert(dead_letters::last(&transaction)?),
            };
            done.replayed = dead_letters::replay(&transaction, *most - *moved, last)?;
        }
        if self.may_claim() {
            dead_letters::expire(&transaction, self.ttl)?;
            let (events, bytes) = (self.prefetch - self.work.held.len(), HELD_BYTES - self.work.held_bytes);
            done.taken = claim::claim(&transaction, Room { events, bytes }, self.ttl, window)?;
            if let (Some(_), Some(last)) = (&self.pass, done.taken.last()) {
                window.after = (last.due, last.claimed.seq);
            }
        }
        done.agenda = claim::agenda(&transaction, window)?;
        transaction.commit().map_err(StoreError::from)?;
        store.verify()?;
        if let Some(pass) = &self.pass
            && !done.taken.is_empty()
        {
            pass.has_taken_up_to(window.after);
        }
        if extend {
            self.work.extended_at = now;
        }
        self.tell(done);
        store.bound_log();
        Ok(())
    }

    /// Tells everybody what the transaction did.
    fn tell(&mut self, done: Done) {
        self.work.agenda = done.agenda;
        for (pending, settled) in std::mem::take(&mut self.work.pending).into_iter().zip(done.settled) {
            self.forget(pending.claimed);
            if let Some(answer) = pending.answer {
                // The settling future may have been dropped; the settlement holds.
                let _ = answer.send(if settled { Ok(()) } else { Err(crate::LeaseLost) });
            }
        }
        for claimed in done.lost {
            self.forget(claimed);
        }
        if let Some(taker) = self.work.takers.pop_front() {
            let suspect = done.suspect.map(|taken| self.hold(taken));
            // A taker that has gone leaves a delivery that is dropped, and so handed back.
            let _ = taker.send(suspect);
        }
        self.tell_replay(done.replayed);
        for taken in done.taken {
            let delivery = self.hold(taken);
            // There is room for the whole prefetch; a subscriber that has gone drops it, and so hands it back.
            let _ = self.deliveries.try_send(delivery);
        }
    }

    fn tell_replay(&mut self, moved: usize) {
        let Some(mut replay) = self.work.replays.pop_front() else { return };
        replay.moved += moved;
        let answer = if moved == 0 || replay.moved == replay.most {
            Ok(replay.moved)
        } else if self.work.closing.is_some() {
            Err(ReplayError::closed(replay.moved))
        } else if replay.answer.is_closed() {
            return;
        } else {
            return self.work.replays.push_front(replay);
        };
        // The replaying future may have been dropped; what was moved stays moved.
        let _ = replay.answer.send(answer);
    }

    fn hold(&mut self, taken: Taken) -> Delivery {
        if self.work.held.is_empty() {
            self.work.extended_at = now_ms();
        }
        self.work.held.insert(taken.claimed, taken.bytes);
        self.work.held_bytes = self.work.held_bytes.saturating_add(taken.bytes);
        let lease = subscribe::Lease::Sqlite(Lease::new(taken.claimed, self.link.clone()));
        let Taken { event, attempt, crashes, first_received, .. } = taken;
        Delivery { event: Arc::new(event), attempt, crashes, first_received, lease }
    }

    fn forget(&mut self, claimed: Claimed) {
        if let Some(bytes) = self.work.held.remove(&claimed) {
            self.work.held_bytes = self.work.held_bytes.saturating_sub(bytes);
        }
    }

    /// Says that suspects wait, again and again while nobody takes them.
    fn announce_suspects(&mut self) {
        let waiting = self.work.agenda.lapse.is_some_and(|lapse| lapse <= now_ms());
        let quiet = self.work.announced.is_none_or(|last| last.elapsed() >= IDLE);
        if waiting && quiet {
            self.work.announced = Some(Instant::now());
            self.suspects.notify_one();
        }
    }

    fn keep_house(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.work.housekeeping.is_some_and(|last| last.elapsed() < HOUSEKEEPING_EVERY) {
            return Ok(());
        }
        self.work.housekeeping = Some(Instant::now());
        store.verify()?;
        match store.shrink() {
            Err(error) if error.is_busy() => Ok(()),
            other => other,
        }
    }

    /// Hands back everything that is held: a graceful end leaves no suspects.
    fn release_all(&mut self, store: &mut Store) -> Result<(), StoreError> {
        if self.work.held.is_empty() {
            return Ok(());
        }
        let transaction = store.begin()?;
        for claimed in self.work.held.keys() {
            settle::settle(&transaction, *claimed, &crate::Settlement::Release)?;
        }
        transaction.commit().map_err(StoreError::from)?;
        self.work.held.clear();
        Ok(())
    }

    /// Waits while the file cannot be used. Settlements wait too; whoever asks for something gets the answer that
    /// nothing is there.
    fn wait(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.work.closing.is_none() && Instant::now() < until {
            self.gather(until.saturating_duration_since(Instant::now()));
            for taker in self.work.takers.drain(..) {
                // The taker may have gone.
                let _ = taker.send(None);
            }
            for replay in self.work.replays.drain(..) {
                let source = "the queue's file cannot be used at the moment".into();
                // The replaying future may have been dropped.
                let _ = replay.answer.send(Err(ReplayError { moved: replay.moved, source }));
            }
        }
    }

    fn show(&self, state: State) {
        self.state.send_if_modified(|current| std::mem::replace(current, state) != state);
    }
}
