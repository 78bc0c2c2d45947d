//! The suite's publishing half, run against RabbitMQ's management API. What is published is received over AMQP.

use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde_json::json;
use testbed::{Broker, Proxy, Version, Vhost, versions};
use webhook_queue::Event;

use crate::queue::{Queue, Refusing};
use crate::rabbitmq::received;

/// A version with a routing key, as a type of its own.
macro_rules! rabbitmq_http {
    ($module:ident: $version:ident, $routing_key:literal; $($group:ident)+) => {
        mod $module {
            #[derive(Debug)]
            pub(crate) struct Kind;

            impl super::Kind for Kind {
                const VERSION: testbed::Version = testbed::Version::$version;
                const ROUTING_KEY: &str = $routing_key;
            }

            pub(crate) type Tested = super::RabbitMqHttp<Kind>;
            $($group!(crate::rabbitmq_http::$module::Tested);)+
        }
    };
}

rabbitmq_http!(version_3: V3, "webhook"; every_publisher queue_that_takes_copies);
rabbitmq_http!(version_4: V4, "webhook"; every_publisher queue_that_takes_copies);
rabbitmq_http!(full_3: V3, "{type}"; queue_that_refuses);
rabbitmq_http!(full_4: V4, "{type}"; queue_that_refuses);

/// What differs between them.
pub(crate) trait Kind: Send + Sync {
    const VERSION: Version;
    const ROUTING_KEY: &str;
}

/// A virtual host of its own, its management API behind a proxy of its own.
pub(crate) struct RabbitMqHttp<K> {
    vhost: Vhost,
    proxy: Proxy,
    ttl: Duration,
    kind: PhantomData<K>,
}

impl<K: Kind> Queue for RabbitMqHttp<K> {
    fn is_tested() -> bool {
        versions().contains(&K::VERSION)
    }

    async fn with_ttl(ttl: Duration) -> Self {
        let queue = RabbitMqHttp { ttl, ..Self::absent().await };
        queue.set_up().await;
        if K::ROUTING_KEY == "{type}" {
            queue.vhost.bind("e-conomic.direct", "e-conomic-webhooks", "order").await;
        }
        queue
    }

    async fn absent() -> Self {
        let broker = Broker::shared(K::VERSION).await;
        let (vhost, proxy) = (broker.vhost().await, Proxy::start(broker.management_addr()).await);
        RabbitMqHttp { vhost, proxy, ttl: Duration::from_secs(604_800), kind: PhantomData }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("QUEUE_URL", self.vhost.publish_url_via(self.proxy.addr())),
            ("QUEUE_TTL", format!("{}ms", self.ttl.as_millis())),
            ("QUEUE_ROUTING_KEY", K::ROUTING_KEY.to_owned()),
        ]
    }

    fn variables_to_subscribe(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.variables();
        variables[0].1 = self.vhost.amqp_url();
        variables
    }

    fn received(event: &Event) -> SystemTime {
        received(event)
    }

    fn network(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }
}

impl<K: Kind> Refusing for RabbitMqHttp<K> {
    /// Their routing key leads to a queue that is always full.
    async fn refuse(&self) {
        self.vhost.declare_queue("full", json!({"x-max-length": 0, "x-overflow": "reject-publish"})).await;
        self.vhost.bind("e-conomic.direct", "full", "refused").await;
    }
}
