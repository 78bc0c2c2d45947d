//! A virtual host behind a proxy, and a fallback: a file, or a queue on moto.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use testbed::{Broker, Moto, Proxy, SqsQueue, Version, Vhost, in_time};
use tokio::time::{Instant, timeout};
use webhook_queue::{
    Env, Event, Publish, PublishError, Publisher, QueueConfig, QueueUrl, Readiness, Received, Role, Settlement,
    Subscribe, Subscriber, decode_sqs, setup,
};

pub(crate) const QUEUE: &str = "e-conomic-webhooks";
pub(crate) const EXCHANGE: &str = "e-conomic.direct";
/// The forwarder's own.
pub(crate) const DEADLINE: Duration = Duration::from_millis(2500);
const SLACK: Duration = Duration::from_millis(400);
/// How long nothing must come before it is believed that nothing comes.
const QUIET: Duration = Duration::from_secs(2);

pub(crate) struct Stage {
    pub(crate) vhost: Vhost,
    pub(crate) proxy: Proxy,
    pub(crate) second: Second,
    config: QueueConfig,
}

/// The fallback.
pub(crate) enum Second {
    Sqlite(tempfile::TempDir),
    /// Another virtual host, by its management API.
    Management(Vhost),
    Sqs {
        queue: SqsQueue<'static>,
        proxy: Proxy,
    },
}

impl Second {
    pub(crate) async fn sqlite() -> Second {
        Second::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn management() -> Second {
        let vhost = Broker::shared(Version::V3).await.vhost().await;
        setup(&QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap())).await.unwrap();
        Second::Management(vhost)
    }

    pub(crate) async fn sqs() -> Second {
        let moto = Moto::shared().await;
        Second::Sqs { queue: moto.queue(false, json!({})).await, proxy: Proxy::start(moto.addr()).await }
    }

    fn url(&self) -> String {
        match self {
            Second::Sqlite(folder) => format!("sqlite:{}", folder.path().join("queue.db").display()),
            Second::Management(vhost) => {
                format!("{}/api/exchanges/{}/{EXCHANGE}/publish", vhost.management_url(), vhost.name())
            }
            Second::Sqs { queue, proxy } => queue.url_via(proxy.addr()),
        }
    }
}

impl Stage {
    /// Both queues, set up.
    pub(crate) async fn new(broker: &Broker, second: Second) -> Stage {
        let (vhost, proxy) = (broker.vhost().await, Proxy::start(broker.amqp_addr()).await);
        let config = read(&vhost.amqp_url_via(proxy.addr()), &second.url());
        setup(&config).await.unwrap();
        Stage { vhost, proxy, second, config }
    }

    /// Waits until the first queue is connected to: as a test of what happens later needs it.
    pub(crate) async fn publisher(&self) -> Publisher {
        let publisher = Publisher::open(&self.config).unwrap();
        assert!(publish(&publisher).await.0.is_ok());
        assert_eq!(self.take_first().await.len(), 1);
        publisher
    }

    pub(crate) fn config(&self) -> QueueConfig {
        self.config.clone()
    }

    /// Takes everything off the first queue: the events' ids.
    pub(crate) async fn take_first(&self) -> HashSet<String> {
        take_vhost(&self.vhost, 0).await
    }

    /// Takes everything off the fallback: the events' ids.
    pub(crate) async fn take_second(&self) -> HashSet<String> {
        match &self.second {
            Second::Sqlite(_) => take(&self.config.rungs().last().unwrap(), 1).await,
            Second::Management(vhost) => take_vhost(vhost, 1).await,
            Second::Sqs { queue, .. } => {
                let messages = queue.take_all().await;
                messages.iter().map(|message| id(&decode_sqs(message["Body"].as_str().unwrap()).unwrap(), 1)).collect()
            }
        }
    }

    /// The next events land on the fallback, none of them late.
    pub(crate) async fn steps_down(&self, publisher: &Publisher) {
        self.steps_down_within(DEADLINE / 5, publisher).await;
    }

    /// The next events land on the fallback, none of them late; the first may take so long.
    pub(crate) async fn steps_down_within(&self, first: Duration, publisher: &Publisher) {
        let mut sent = HashSet::new();
        for number in 0..5 {
            let (outcome, took) = publish(publisher).await;
            sent.insert(outcome.unwrap());
            let most = if number == 0 { first } else { DEADLINE / 5 };
            assert!(took < most + SLACK, "event {number} took {took:?}");
        }
        assert_eq!(publisher.readiness(), Readiness::Ready);
        assert_eq!(self.take_second().await, sent);
    }

    /// While the fallback is away: an event is taken at last, and lies on the first queue.
    pub(crate) async fn comes_back_alone(&self, publisher: &Publisher) {
        let start = Instant::now();
        let id = loop {
            if let (Ok(id), _) = publish(publisher).await {
                break id;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "the first queue takes nothing");
        };
        assert!(self.take_first().await.contains(&id));
    }

    /// Events land on the first queue again, without a restart, and in the meantime on the fallback.
    pub(crate) async fn comes_back(&self, publisher: &Publisher) {
        let start = Instant::now();
        let mut sent = HashSet::new();
        loop {
            let (outcome, _) = publish(publisher).await;
            sent.insert(outcome.unwrap());
            let info = self.vhost.queue(QUEUE).await;
            if info.is_some_and(|queue| queue["messages"].as_u64() > Some(0)) {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "the first queue gets nothing");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (first, second) = (self.take_first().await, self.take_second().await);
        assert!(sent.iter().all(|id| first.contains(id) || second.contains(id)));
    }
}

pub(crate) fn read(first: &str, second: &str) -> QueueConfig {
    let mut env = Env::from_pairs([
        ("QUEUE_URL", first),
        ("QUEUE_FALLBACK_URLS", second),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ]);
    let config = QueueConfig::from_env(&mut env, Role::Forwarder);
    env.finish().unwrap();
    config
}

/// Publishes one event: its id, and how long it took.
pub(crate) async fn publish(publisher: &Publisher) -> (Result<String, PublishError>, Duration) {
    let event = Event::new("shop", "order", "x");
    let start = Instant::now();
    let outcome = publisher.publish(&event, start + DEADLINE).await;
    let took = start.elapsed();
    assert!(took < DEADLINE + SLACK, "{took:?}");
    (outcome.map(|()| event.id), took)
}

async fn take_vhost(vhost: &Vhost, rung: u32) -> HashSet<String> {
    take(&QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap()), rung).await
}

/// The id of an event that says that this queue took it.
fn id(event: &Event, rung: u32) -> String {
    assert_eq!(event.rung, rung);
    event.id.clone()
}

/// Everything that comes, until nothing does.
async fn take(config: &QueueConfig, rung: u32) -> HashSet<String> {
    let mut subscriber = Subscriber::open(config, 200).unwrap();
    let mut state = subscriber.state();
    let receiving = state.wait_for(|state| *state == webhook_queue::State::Receiving);
    drop(timeout(Duration::from_secs(20), receiving).await.unwrap().unwrap());
    let mut ids = HashSet::new();
    while let Ok(received) = timeout(QUIET, subscriber.next()).await {
        let Received::Delivery(delivery) = received else { panic!("nobody died") };
        ids.insert(id(delivery.event(), rung));
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
    }
    in_time("the close", subscriber.close()).await;
    ids
}
