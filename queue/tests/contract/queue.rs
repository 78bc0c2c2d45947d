//! What a backend brings to the suite, and the steps that the tests are written in.

use std::future::Future;
use std::time::{Duration, SystemTime};

use testbed::Proxy;
use tokio::time::{Instant, timeout};
use webhook_queue::{
    Delivery, Env, Event, Publish, PublishError, Publisher, QueueConfig, Received, Role, State, Subscribe, Subscriber,
};

/// Long enough for a busy machine; a test that needs as long hangs. Shorter than a lease: what comes again when it lapses
/// was not handed back.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing must come before it is believed that nothing comes.
pub(crate) const QUIET: Duration = Duration::from_millis(500);

/// A queue of its own for one test.
pub(crate) trait Queue: Sized + Send + Sync {
    /// More events than the backend moves in one step.
    const MANY: usize = 520;

    /// Whether this run of the checks covers it. Whoever leaves one out has to say so, and `infra/check` does.
    fn is_tested() -> bool {
        true
    }

    /// One that is there, empty, and lets events wait for `ttl`.
    fn with_ttl(ttl: Duration) -> impl Future<Output = Self> + Send;

    /// One that `set_up` has still to make.
    fn absent() -> impl Future<Output = Self> + Send;

    /// What `webhook-forwarder setup` would do.
    fn set_up(&self) -> impl Future<Output = ()> + Send {
        async { drop(webhook_queue::setup(&self.config()).await.unwrap()) }
    }

    /// The `QUEUE_*` variables that name it.
    fn variables(&self) -> Vec<(&'static str, String)>;

    /// Those for a subscriber, where it reaches the queue by another way.
    fn variables_to_subscribe(&self) -> Vec<(&'static str, String)> {
        self.variables()
    }

    /// The network between it and its publishers, where there is one.
    fn network(&self) -> Option<&Proxy> {
        None
    }

    /// Takes it out of reach, with all that is on it.
    fn take_away(&self) -> impl Future<Output = ()> + Send {
        async { self.network().expect("without a network it is taken away by other means").cut() }
    }

    /// Lets it answer nobody.
    fn stall(&self) -> impl Future<Output = ()> + Send {
        async { self.network().expect("without a network it is stalled by other means").stall() }
    }

    /// Undoes `take_away` and `stall`.
    fn bring_back(&self) -> impl Future<Output = ()> + Send {
        async { self.network().expect("without a network it is brought back by other means").heal() }
    }

    /// Lets the time pass after which the queue notices that a holder has died. Most notice at once.
    fn let_leases_lapse(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Takes out all dead letters, oldest first. None where only the publishing half is tested.
    fn take_dead_letters(&self) -> impl Future<Output = Vec<Dead>> + Send {
        async { Vec::new() }
    }

    /// When it was received, as far as the wire can tell.
    fn received(event: &Event) -> SystemTime {
        event.received
    }

    /// One that is there and empty.
    fn fresh() -> impl Future<Output = Self> + Send {
        Self::with_ttl(Duration::from_secs(7 * 24 * 60 * 60))
    }

    fn config(&self) -> QueueConfig {
        config(self.variables(), Role::Forwarder)
    }

    fn publisher(&self) -> Publisher {
        Publisher::open(&self.config()).unwrap()
    }

    fn subscriber(&self, prefetch: u16) -> Subscriber {
        Subscriber::open(&self.config_to_subscribe(), prefetch).unwrap()
    }

    fn config_to_subscribe(&self) -> QueueConfig {
        config(self.variables_to_subscribe(), Role::Consumer)
    }
}

fn config(variables: Vec<(&'static str, String)>, role: Role) -> QueueConfig {
    let mut env = Env::from_pairs(variables);
    let config = QueueConfig::from_env(&mut env, role);
    env.finish().unwrap();
    config
}

/// A queue that can be told to refuse.
pub(crate) trait Refusing: Queue {
    /// From now on it refuses events of the type `refused`.
    fn refuse(&self) -> impl Future<Output = ()> + Send;
}

/// A dead letter as it lies on the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) error: String,
    pub(crate) attempts: u32,
    pub(crate) handler: Option<String>,
}

pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// When hundreds of steps are done, on an emulator too that does tens a second and has other tests to serve.
pub(crate) fn at_last() -> Instant {
    Instant::now() + PATIENCE * 4
}

/// Each of another tenant: a queue that keeps the order of a tenant hands them out at once. A fallback took them: that must
/// survive whatever becomes of them.
pub(crate) fn event(body: &str) -> Event {
    let mut event = Event::new("shop", "order", body.to_owned());
    event.tenant = Some(event.id.clone());
    event.rung = 1;
    event
}

/// Publishes one event for each body.
pub(crate) async fn publish(publisher: &Publisher, bodies: &[&str]) -> Vec<Event> {
    let mut events = Vec::new();
    for body in bodies {
        let event = event(body);
        publisher.publish(&event, soon()).await.unwrap();
        events.push(event);
    }
    events
}

/// Publishes until the queue takes it: for queues that have just come back.
pub(crate) async fn publish_at_last(publisher: &Publisher, event: &Event) {
    let give_up = soon();
    while let Err(error) = publisher.publish(event, Instant::now() + Duration::from_secs(2)).await {
        assert!(Instant::now() < give_up, "the queue does not come back: {error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The next ordinary delivery.
pub(crate) async fn receive(subscriber: &mut Subscriber) -> Delivery {
    match timeout(PATIENCE, subscriber.next()).await {
        Ok(Received::Delivery(delivery)) => delivery,
        Ok(Received::Suspects) => panic!("suspects, and nobody died"),
        Err(_) => panic!("nothing came"),
    }
}

/// The next delivery, be it ordinary or suspect.
pub(crate) async fn receive_any(subscriber: &mut Subscriber) -> Delivery {
    let give_up = soon();
    loop {
        match tokio::time::timeout_at(give_up, subscriber.next()).await {
            Ok(Received::Delivery(delivery)) => return delivery,
            Ok(Received::Suspects) => {
                if let Some(delivery) = subscriber.next_suspect().await {
                    return delivery;
                }
            }
            Err(_) => panic!("nothing came"),
        }
    }
}

/// Nothing is on the queue for this subscriber, which is receiving.
pub(crate) async fn nothing_is_left(subscriber: &mut Subscriber) {
    let mut state = subscriber.state();
    let receiving = state.wait_for(|state| *state == State::Receiving);
    drop(timeout(PATIENCE, receiving).await.expect("it does not receive").unwrap());
    nothing_comes(subscriber).await;
}

/// Nothing comes, neither delivery nor suspects.
pub(crate) async fn nothing_comes(subscriber: &mut Subscriber) {
    if let Ok(received) = timeout(QUIET, subscriber.next()).await {
        panic!("there is still {received:?}");
    }
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.event().body.to_vec()).unwrap()
}

/// Whether the error leaves it open what became of the event.
pub(crate) fn nobody_knows(error: &PublishError) -> bool {
    matches!(error, PublishError::TimedOut | PublishError::Unreachable(_) | PublishError::Blocked(_))
}
