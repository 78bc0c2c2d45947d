//! A RabbitMQ behind a proxy, a fallback, and the program between them.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::json;
use testbed::{Broker, Moto, Proxy, SqsQueue, Version, Vhost, in_time};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use webhook_queue::{
    Env, Event, Publish, Publisher, QueueConfig, Received, Role, Settlement, State, Subscribe, Subscriber, setup,
};

use crate::PATIENCE;

/// What `setup` binds the queue to.
pub(crate) const KEY: &str = "webhook";
const PROGRAM: &str = env!("CARGO_BIN_EXE_webhook-forwarder");
/// How long nothing must come before it is believed that nothing comes.
const QUIET: Duration = Duration::from_secs(2);

pub(crate) struct Stage {
    pub(crate) vhost: Vhost,
    pub(crate) proxy: Proxy,
    /// One fallback, or several.
    pub(crate) fallback: String,
    /// Which key says what has a queue to go to.
    pub(crate) routing_key: &'static str,
}

impl Stage {
    pub(crate) async fn new(fallback: String) -> Stage {
        let broker = Broker::shared(Version::V3).await;
        let (vhost, proxy) = (broker.vhost().await, Proxy::start(broker.amqp_addr()).await);
        setup(&read(&vhost.amqp_url())).await.unwrap();
        Stage { vhost, proxy, fallback, routing_key: KEY }
    }

    pub(crate) async fn with_sqs(fifo: bool) -> (Stage, SqsQueue<'static>) {
        let queue = Moto::shared().await.queue(fifo, json!({})).await;
        (Stage::new(queue.url()).await, queue)
    }

    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |text: &str| text.to_owned();
        vec![
            ("QUEUE_URL", self.vhost.amqp_url_via(self.proxy.addr())),
            ("QUEUE_FALLBACK_URLS", self.fallback.clone()),
            ("QUEUE_ROUTING_KEY", text(self.routing_key)),
            ("AWS_ACCESS_KEY_ID", text("test")),
            ("AWS_SECRET_ACCESS_KEY", text("test")),
        ]
    }

    /// Events with all that must survive, on the fallback.
    pub(crate) async fn fill(&self, events: usize) -> Vec<Event> {
        fill(&self.fallback, (0..events).map(sample)).await
    }

    pub(crate) fn start(&self) -> Child {
        let mut command = Command::new(PROGRAM);
        command.arg("drain").env_clear().envs(self.variables()).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Drains to the end: the exit code, and what was printed.
    pub(crate) async fn drain(&self) -> (i32, String) {
        let Output { status, stdout, stderr } =
            timeout(PATIENCE, self.start().wait_with_output()).await.expect("it ends").unwrap();
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// Takes everything off the first queue, in its order.
    pub(crate) async fn take(&self) -> Vec<Event> {
        let mut subscriber = Subscriber::open(&read(&self.vhost.amqp_url()), 200).unwrap();
        let mut state = subscriber.state();
        drop(timeout(PATIENCE, state.wait_for(|state| *state == State::Receiving)).await.unwrap().unwrap());
        let mut events = Vec::new();
        while let Ok(received) = timeout(QUIET, subscriber.next()).await {
            let Received::Delivery(delivery) = received else { panic!("nobody died") };
            events.push(delivery.event().clone());
            in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
        }
        in_time("the close", subscriber.close()).await;
        events
    }
}

/// Puts events on a queue, in no order.
pub(crate) async fn fill(queue: &str, events: impl Iterator<Item = Event>) -> Vec<Event> {
    let publisher = Publisher::open(&read(queue)).unwrap();
    let mut tasks = JoinSet::new();
    for event in events {
        let publisher = publisher.clone();
        tasks.spawn(async move {
            publisher.publish(&event, Instant::now() + PATIENCE).await.unwrap();
            event
        });
    }
    let events = tasks.join_all().await;
    publisher.close().await;
    events
}

pub(crate) fn read(url: &str) -> QueueConfig {
    let mut env =
        Env::from_pairs([("QUEUE_URL", url), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
    let config = QueueConfig::from_env(&mut env, Role::Forwarder);
    env.finish().unwrap();
    config
}

/// As RabbitMQ can carry it: received in whole seconds, long ago.
fn sample(number: usize) -> Event {
    let mut event =
        Event::new("e-conomic", "product-updated", [&b"\xff\x00"[..], number.to_string().as_bytes()].concat());
    event.received = std::time::UNIX_EPOCH + Duration::from_secs(1_770_000_000 + number as u64);
    event.time = event.received - Duration::from_millis(1500);
    event.tenant = Some("123456".to_owned());
    event.rung = 1;
    event.http.query = "a=%2B&b=+&&c".to_owned();
    event.http.headers = vec![("x-a".to_owned(), "1".to_owned()), ("x-a".to_owned(), "æ".to_owned())];
    event
}
