//! The suite, run against RabbitMQ: classic and quorum queues, on every version.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use testbed::{Broker, Proxy, Version, Vhost, versions};
use webhook_queue::{Event, Topology};

use crate::queue::{Dead, Queue};

/// A queue type on a version, as a type of its own. Whom a full queue refuses is a matter of routing:
/// `tests/rabbitmq/attribution.rs`.
macro_rules! rabbitmq {
    ($module:ident: $version:ident, $queue_type:literal; $($group:ident)+) => {
        mod $module {
            #[derive(Debug)]
            pub(crate) struct Kind;

            impl super::Kind for Kind {
                const VERSION: testbed::Version = testbed::Version::$version;
                const QUEUE_TYPE: &str = $queue_type;
            }

            pub(crate) type Tested = super::RabbitMq<Kind>;
            $($group!(crate::rabbitmq::$module::Tested);)+
        }
    };
}

rabbitmq!(classic_3: V3, "classic"; every_queue);
rabbitmq!(quorum_3: V3, "quorum"; every_queue queue_that_keeps_what_expires);
rabbitmq!(classic_4: V4, "classic"; every_queue);
rabbitmq!(quorum_4: V4, "quorum"; every_queue queue_that_keeps_what_expires);

/// What differs between them.
pub(crate) trait Kind: Send + Sync {
    const VERSION: Version;
    const QUEUE_TYPE: &str;
}

/// A virtual host of its own, behind a proxy of its own.
pub(crate) struct RabbitMq<K> {
    vhost: Vhost,
    proxy: Proxy,
    ttl: Duration,
    kind: std::marker::PhantomData<K>,
}

impl<K: Kind> RabbitMq<K> {
    fn names(&self) -> Topology {
        Topology::new(&self.config())
    }
}

impl<K: Kind> Queue for RabbitMq<K> {
    fn is_tested() -> bool {
        versions().contains(&K::VERSION)
    }

    async fn with_ttl(ttl: Duration) -> Self {
        let queue = RabbitMq { ttl, ..Self::absent().await };
        queue.set_up().await;
        queue
    }

    async fn absent() -> Self {
        let broker = Broker::shared(K::VERSION).await;
        let (vhost, proxy) = (broker.vhost().await, Proxy::start(broker.amqp_addr()).await);
        RabbitMq { vhost, proxy, ttl: Duration::from_secs(604_800), kind: std::marker::PhantomData }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("QUEUE_URL", self.vhost.amqp_url_via(self.proxy.addr())),
            ("QUEUE_TYPE", K::QUEUE_TYPE.to_owned()),
            ("QUEUE_TTL", format!("{}ms", self.ttl.as_millis())),
        ]
    }

    fn received(event: &Event) -> SystemTime {
        received(event)
    }

    fn network(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    async fn take_dead_letters(&self) -> Vec<Dead> {
        let (queue, mut dead) = (self.names().dead_queue(), Vec::new());
        if self.vhost.queue(&queue).await.is_none() {
            return dead;
        }
        while let Some(message) = self.vhost.get(&queue).await {
            dead.push(read(&message));
        }
        dead
    }
}

/// In whole seconds, unless it is the event's own time.
pub(crate) fn received(event: &Event) -> SystemTime {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let second = seconds(event.received);
    if second == seconds(event.time) { event.time } else { UNIX_EPOCH + Duration::from_secs(second) }
}

fn read(message: &Value) -> Dead {
    let headers = &message["properties"]["headers"];
    let text = |name: &str| headers[name].as_str().map(str::to_owned);
    let number = |name: &str| headers[name].as_u64().or_else(|| headers[name].as_str()?.parse().ok());
    // What the broker itself dead-letters carries its own word for it.
    let reason = text("dead:reason").or_else(|| headers["x-death"][0]["reason"].as_str().map(str::to_owned));
    Dead {
        id: message["properties"]["message_id"].as_str().unwrap_or_default().to_owned(),
        reason: reason.unwrap_or_default(),
        error: text("dead:error").unwrap_or_default(),
        attempts: u32::try_from(number("dead:attempts").unwrap_or(0)).unwrap(),
        handler: text("dead:handler"),
    }
}
