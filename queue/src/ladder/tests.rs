use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

const DEADLINE: Duration = Duration::from_millis(2500);

/// What a queue does with an event.
#[derive(Clone, Copy, Debug)]
enum Act {
    Confirm,
    ConfirmAfter(Duration),
    Refuse,
    BreakAfter(Duration),
    /// Nothing, until the deadline.
    Hang,
}

/// A queue that does as it is told, in turn; the last act for ever.
#[derive(Debug)]
struct Scripted {
    acts: Mutex<VecDeque<Act>>,
    /// What the events say of the queue that took them.
    took: Mutex<Vec<u32>>,
    asked: AtomicUsize,
    ready: AtomicBool,
    out_of_reach: AtomicBool,
    limit: usize,
}

impl Scripted {
    fn new(acts: &[Act]) -> Arc<Scripted> {
        Arc::new(Scripted {
            acts: Mutex::new(acts.iter().copied().collect()),
            took: Mutex::default(),
            asked: AtomicUsize::new(0),
            ready: AtomicBool::new(true),
            out_of_reach: AtomicBool::new(false),
            limit: 100,
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn took(&self) -> Vec<u32> {
        self.took.lock().unwrap().clone()
    }
}

impl Publish for Arc<Scripted> {
    async fn publish(&self, event: &Event, deadline: Instant) -> Result<(), PublishError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let act = {
            let mut acts = self.acts.lock().unwrap();
            if acts.len() > 1 { acts.pop_front().unwrap() } else { acts[0] }
        };
        let time = match act {
            Act::ConfirmAfter(time) | Act::BreakAfter(time) => time,
            _ => Duration::ZERO,
        };
        match act {
            Act::Confirm | Act::ConfirmAfter(_) if Instant::now() + time <= deadline => {
                tokio::time::sleep(time).await;
                self.took.lock().unwrap().push(event.rung);
                Ok(())
            }
            Act::Refuse => Err(PublishError::Refused("full".to_owned())),
            Act::BreakAfter(time) if Instant::now() + time <= deadline => {
                tokio::time::sleep(time).await;
                Err(PublishError::Unreachable("it broke".into()))
            }
            _ => {
                tokio::time::sleep_until(deadline).await;
                Err(PublishError::TimedOut)
            }
        }
    }

    fn readiness(&self) -> Readiness {
        if self.ready.load(Ordering::Relaxed) { Readiness::Ready } else { Readiness::NotReady("away".to_owned()) }
    }

    fn max_body_bytes(&self) -> usize {
        self.limit
    }

    async fn close(&self) {}
}

impl OneOfSeveral for Arc<Scripted> {
    async fn publish_as_one(&self, event: &Event, deadline: Instant, is_last: bool) -> Result<(), PublishError> {
        let out_of_reach = self.out_of_reach.load(Ordering::Relaxed);
        tokio::select! {
            biased;
            outcome = self.publish(event, deadline) => outcome,
            () = async {}, if out_of_reach && !is_last => Err(PublishError::Unreachable("refused".into())),
        }
    }
}

fn ladder(rungs: &[&Arc<Scripted>]) -> Ladder<Arc<Scripted>> {
    Ladder::new(rungs.iter().enumerate().map(|(place, rung)| (format!("queue {place}"), Arc::clone(rung))).collect())
}

/// The outcome of one event, and how long it took.
async fn publish(ladder: &Ladder<Arc<Scripted>>) -> (Result<(), PublishError>, Duration) {
    let start = Instant::now();
    let outcome = ladder.publish(&Event::new("shop", "order", "x"), start + DEADLINE).await;
    (outcome, start.elapsed())
}

/// Lets so much time pass on the wall.
fn pass<P>(ladder: &Ladder<P>, by: Duration) {
    for rung in &ladder.rungs {
        let mut memory = lock(&rung.memory);
        memory.trouble.iter_mut().for_each(|trouble| trouble.failed_at -= by);
        memory.confirmed_at.iter_mut().for_each(|at| *at -= by);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_queue_takes_all_that_it_can() {
    let (first, second) = (Scripted::new(&[Act::Confirm]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    for _ in 0..3 {
        assert!(publish(&ladder).await.0.is_ok());
    }
    assert_eq!((first.asked(), second.asked()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leads_to_the_next_queue_at_once_and_is_not_held_against_the_next_event() {
    let (first, second) = (Scripted::new(&[Act::Refuse, Act::Refuse, Act::Confirm]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    for _ in 0..3 {
        let (outcome, took) = publish(&ladder).await;
        assert!(outcome.is_ok() && took.is_zero());
    }
    assert_eq!((first.asked(), second.asked()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_out_of_reach_leads_to_the_next_at_once_and_is_the_last_resort() {
    let first = Scripted::new(&[Act::Hang, Act::Hang, Act::ConfirmAfter(DEADLINE / 2)]);
    let second = Scripted::new(&[Act::Confirm, Act::Refuse]);
    first.out_of_reach.store(true, Ordering::Relaxed);
    let ladder = ladder(&[&first, &second]);
    let (outcome, took) = publish(&ladder).await;
    assert!(outcome.is_ok() && took.is_zero());
    pass(&ladder, OLD);
    let (outcome, took) = publish(&ladder).await;
    assert!(outcome.is_ok());
    assert_eq!((first.asked(), second.asked(), took), (3, 2, DEADLINE / 2));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_breaks_late_takes_no_time_from_the_next() {
    let break_late = Act::BreakAfter(DEADLINE / 2 - Duration::from_millis(1));
    let (first, second) = (Scripted::new(&[break_late]), Scripted::new(&[Act::ConfirmAfter(DEADLINE / 2)]));
    publish(&ladder(&[&first, &second])).await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_says_which_queue_took_it() {
    let first = Scripted::new(&[Act::Confirm, Act::Refuse]);
    let second = Scripted::new(&[Act::Refuse, Act::Hang, Act::Confirm]);
    let third = Scripted::new(&[Act::Confirm, Act::Confirm, Act::Refuse]);
    let ladder = ladder(&[&first, &second, &third]);
    for _ in 0..4 {
        publish(&ladder).await.0.unwrap();
    }
    // The second took the last one as the last resort.
    assert_eq!([first.took(), second.took(), third.took()], [vec![0], vec![1], vec![2, 2]]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_moved_to_the_first_queue_keeps_its_rung() {
    let first = Scripted::new(&[Act::Confirm]);
    let mut moved = Event::new("shop", "order", "x");
    moved.rung = 2;
    let ladder = ladder(&[&first, &Scripted::new(&[Act::Confirm])]);
    ladder.publish(&moved, Instant::now() + DEADLINE).await.unwrap();
    assert_eq!(first.took(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_gets_an_even_share_of_what_is_left() {
    let silent = || Scripted::new(&[Act::Hang]);
    let (outcome, took) = publish(&ladder(&[&silent(), &Scripted::new(&[Act::Confirm])])).await;
    assert!(outcome.is_ok());
    assert_eq!(took, DEADLINE / 2);
    let (outcome, took) = publish(&ladder(&[&silent(), &silent(), &silent()])).await;
    assert!(matches!(outcome, Err(PublishError::NoQueue(failures)) if failures.len() == 3));
    assert_eq!(took, DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_share_is_never_too_short_and_the_deadline_is_kept() {
    let silent: Vec<_> = (0..8).map(|_| Scripted::new(&[Act::Hang])).collect();
    let (_, took) = publish(&ladder(&silent.iter().collect::<Vec<_>>())).await;
    assert_eq!(took, DEADLINE);
    let waited = silent.iter().filter(|rung| rung.asked() > 0).count();
    assert!(waited >= 5, "{waited} had a turn");
}

#[tokio::test(start_paused = true)]
async fn a_silent_queue_costs_the_next_event_nothing() {
    let (first, second) = (Scripted::new(&[Act::Hang]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    publish(&ladder).await.0.unwrap();
    for _ in 0..10 {
        let (outcome, took) = publish(&ladder).await;
        assert!(outcome.is_ok() && took.is_zero());
    }
    assert_eq!(first.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_event_at_a_time_finds_out_whether_it_is_back() {
    let (first, second) = (Scripted::new(&[Act::Hang, Act::Hang, Act::Confirm]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    publish(&ladder).await.0.unwrap();
    pass(&ladder, PAUSE_WHEN_READY);
    let (probe, other) = tokio::join!(publish(&ladder), publish(&ladder));
    assert!(probe.0.is_ok() && other.0.is_ok());
    assert_eq!((probe.1, other.1), (SHORTEST_SLICE, Duration::ZERO));
    pass(&ladder, PAUSE_WHEN_READY);
    publish(&ladder).await.0.unwrap();
    publish(&ladder).await.0.unwrap();
    assert_eq!((first.asked(), second.asked()), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_only_slow_comes_back() {
    let slow = Act::ConfirmAfter(SHORTEST_SLICE * 2);
    let (first, second) = (Scripted::new(&[Act::Hang, slow]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    for _ in 0..10 {
        publish(&ladder).await.0.unwrap();
        pass(&ladder, PAUSE_WHEN_READY);
    }
    assert_eq!(second.asked(), 1 + 2, "after the failure two probes were too short");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_keeps_nobody_away() {
    let (first, second) = (Scripted::new(&[Act::Hang, Act::Confirm]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    publish(&ladder).await.0.unwrap();
    lock(&ladder.rungs[0].memory).trouble.as_mut().unwrap().failed_at += Duration::from_secs(3600);
    publish(&ladder).await.0.unwrap();
    let together = tokio::join!(publish(&ladder), publish(&ladder));
    assert!(together.0.0.is_ok() && together.1.0.is_ok());
    assert_eq!((first.asked(), second.asked()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_leaves_the_place_to_another() {
    let (first, second) = (Scripted::new(&[Act::Hang]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    publish(&ladder).await.0.unwrap();
    pass(&ladder, PAUSE_WHEN_READY);
    let _ = tokio::time::timeout(Duration::from_millis(1), publish(&ladder)).await;
    publish(&ladder).await.0.unwrap();
    assert_eq!(first.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_says_it_is_not_ready_is_left_alone_for_longer() {
    let first = Scripted::new(&[Act::Hang]);
    first.ready.store(false, Ordering::Relaxed);
    let ladder = ladder(&[&first, &Scripted::new(&[Act::Confirm])]);
    assert_eq!(ladder.readiness(), Readiness::Ready);
    publish(&ladder).await.0.unwrap();
    pass(&ladder, PAUSE_WHEN_READY);
    publish(&ladder).await.0.unwrap();
    assert_eq!(first.asked(), 1);
    pass(&ladder, PAUSE);
    publish(&ladder).await.0.unwrap();
    assert_eq!(first.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_no_longer_ready_costs_nothing_at_all() {
    let (first, second) = (Scripted::new(&[Act::Confirm]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    publish(&ladder).await.0.unwrap();
    first.ready.store(false, Ordering::Relaxed);
    publish(&ladder).await.0.unwrap();
    assert_eq!((first.asked(), second.asked()), (1, 1));
    first.ready.store(true, Ordering::Relaxed);
    publish(&ladder).await.0.unwrap();
    assert_eq!((first.asked(), second.asked()), (2, 1));

    first.ready.store(false, Ordering::Relaxed);
    pass(&ladder, OLD);
    publish(&ladder).await.0.unwrap();
    assert_eq!(first.asked(), 3, "after a freeze it gets its chance");
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_before_a_freeze_says_nothing() {
    let (first, second) = (Scripted::new(&[Act::Hang]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    publish(&ladder).await.0.unwrap();
    pass(&ladder, OLD);
    assert_eq!(publish(&ladder).await.1, DEADLINE / 2);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_was_stepped_over_is_the_last_resort() {
    let (first, second) = (Scripted::new(&[Act::Hang, Act::Confirm]), Scripted::new(&[Act::Confirm, Act::Refuse]));
    let ladder = ladder(&[&first, &second]);
    publish(&ladder).await.0.unwrap();
    publish(&ladder).await.0.unwrap();
    assert_eq!((first.asked(), second.asked()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_was_stepped_over_leaves_the_others_their_time() {
    let (first, second) = (Scripted::new(&[Act::Hang]), Scripted::new(&[Act::Confirm, Act::Hang]));
    let ladder = ladder(&[&first, &second]);
    publish(&ladder).await.0.unwrap();
    let hanging = publish(&ladder);
    let until_the_last_resort = DEADLINE - SHORTEST_SLICE;
    let watching = async {
        tokio::time::sleep(until_the_last_resort - Duration::from_millis(1)).await;
        assert_eq!((first.asked(), second.asked()), (1, 2));
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!((first.asked(), second.asked()), (2, 2));
    };
    let ((outcome, took), ()) = tokio::join!(hanging, watching);
    assert!(outcome.is_err());
    assert_eq!(took, DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_came_too_late_is_no_news_of_a_queue() {
    let (first, second) = (Scripted::new(&[Act::Hang, Act::Confirm]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    let late = Instant::now() + Duration::from_millis(100);
    ladder.publish(&Event::new("shop", "order", "x"), late).await.unwrap_err();
    publish(&ladder).await.0.unwrap();
    assert_eq!(first.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn too_large_only_if_no_queue_could_carry_it() {
    let (first, mut second) = (Scripted::new(&[Act::Refuse]), Scripted::new(&[Act::Confirm]));
    Arc::get_mut(&mut second).unwrap().limit = 10;
    let ladder = ladder(&[&first, &second]);
    assert_eq!(ladder.max_body_bytes(), 100);
    let sized = async |bytes| {
        let event = Event::new("shop", "order", vec![0; bytes]);
        ladder.publish(&event, Instant::now() + DEADLINE).await
    };
    sized(10).await.unwrap();
    let error = sized(11).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no queue has confirmed the event: queue 0: the queue refused the event: full; queue 1: the body is larger \
         than the 10 bytes that the queue carries"
    );
    assert!(matches!(sized(101).await.unwrap_err(), PublishError::TooLarge { limit: 100 }));
    let event = Event::new("shop", "order", vec![0; 11]);
    let roomier = super::Ladder::new(vec![("small".to_owned(), second), ("roomy".to_owned(), first)]);
    let error = roomier.publish(&event, Instant::now()).await.unwrap_err();
    assert!(matches!(error, PublishError::NoQueue(_)), "the roomy one had no turn: {error}");
}

#[tokio::test(start_paused = true)]
async fn what_became_of_events_is_counted_for_each_queue() {
    let (first, second) = (Scripted::new(&[Act::Refuse, Act::Hang]), Scripted::new(&[Act::Confirm]));
    let ladder = ladder(&[&first, &second]);
    for _ in 0..3 {
        assert!(publish(&ladder).await.0.is_ok());
    }
    let large = Event::new("shop", "order", vec![b'x'; 101]);
    assert!(ladder.publish(&large, Instant::now() + DEADLINE).await.is_err());
    let [(_, first), (_, second)] = ladder.counts()[..] else { panic!("there are two queues") };
    let expected = Counts { refused: 1, timed_out: 1, stepped_over: 1, too_large: 1, ..Counts::default() };
    assert_eq!(first, expected);
    assert_eq!(second, Counts { confirmed: 3, too_large: 1, ..Counts::default() });
    assert_eq!(second.since(&Counts { confirmed: 2, ..Counts::default() }).confirmed, 1);
}
