//! Every name that the two halves rely on, derived in one place.

use std::time::Duration;

use crate::config::{QueueConfig, QueueType};
use crate::queue_url::QueueUrl;

/// The delays of the retry queues, shortest first. Any other delay hops through the longest that fits.
pub const RETRY_TIERS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(20),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1200),
    Duration::from_secs(3600),
];

/// The exchange, queues and bindings of one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The direct exchange that the forwarder publishes to.
    pub exchange: String,
    /// The queue that the consumer reads.
    pub queue: String,
    /// The routing key, in which `{source}` and `{type}` may stand.
    pub routing_key: String,
    /// How long an event waits for a consumer.
    pub ttl: Duration,
    /// What kind of queue the main queue is declared as.
    pub queue_type: QueueType,
}

impl Topology {
    /// The topology that a configuration describes. An exchange in the address wins.
    pub fn new(config: &QueueConfig) -> Topology {
        let exchange = match &config.url {
            QueueUrl::RabbitMqHttp(url) => url.exchange().to_owned(),
            _ => config.exchange.clone(),
        };
        Topology {
            exchange,
            queue: config.name.clone(),
            routing_key: config.routing_key.clone(),
            ttl: config.ttl,
            queue_type: config.queue_type,
        }
    }

    /// The routing key of one event.
    pub fn routing_key_of(&self, source: &str, event_type: &str) -> String {
        self.routing_key.replace("{source}", source).replace("{type}", event_type)
    }

    /// The key to bind the main queue with: none where the key varies with the event, because a direct exchange
    /// then needs one binding for each value, which only the operator can name.
    pub fn binding_key(&self) -> Option<&str> {
        (!self.routing_key.contains(['{', '}'])).then_some(&self.routing_key)
    }

    /// The queue in which events wait for `tier`.
    pub fn retry_queue(&self, tier: Duration) -> String {
        format!("{}.retry.{}s", self.queue, tier.as_secs())
    }

    /// The queue that holds dead letters.
    pub fn dead_queue(&self) -> String {
        format!("{}.dead", self.queue)
    }

    /// The queue in which events wait that were in the hands of a process when it died. They are taken from it one
    /// by one, so that its delivery count tells exactly how often each of them was being run when that happened.
    pub fn suspect_queue(&self) -> String {
        format!("{}.suspect", self.queue)
    }

    /// The tier to wait in when `delay` is left: the longest that does not overshoot, else the shortest.
    pub fn retry_tier(delay: Duration) -> Duration {
        RETRY_TIERS.into_iter().rev().find(|tier| *tier <= delay).unwrap_or(RETRY_TIERS[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(routing_key: &str) -> Topology {
        Topology {
            exchange: "e-conomic.direct".into(),
            queue: "e-conomic-webhooks".into(),
            routing_key: routing_key.into(),
            ttl: Duration::from_secs(604_800),
            queue_type: QueueType::Classic,
        }
    }

    #[test]
    fn names_are_the_documented_ones() {
        let topology = topology("webhook");
        let names: Vec<String> = RETRY_TIERS.into_iter().map(|tier| topology.retry_queue(tier)).collect();
        assert_eq!(names[0], "e-conomic-webhooks.retry.1s");
        assert_eq!(names[5], "e-conomic-webhooks.retry.3600s");
        assert_eq!(topology.dead_queue(), "e-conomic-webhooks.dead");
        assert_eq!(topology.binding_key(), Some("webhook"));
    }

    #[test]
    fn a_key_that_varies_has_no_binding_of_its_own() {
        let topology = topology("{source}.{type}");
        assert_eq!(topology.routing_key_of("shop", "order"), "shop.order");
        assert_eq!(topology.binding_key(), None);
    }

    #[test]
    fn a_delay_waits_in_the_longest_tier_that_fits() {
        let tier = |seconds| Topology::retry_tier(Duration::from_secs(seconds)).as_secs();
        assert_eq!([tier(0), tier(1), tier(19), tier(20), tier(90), tier(7200)], [1, 1, 1, 20, 60, 3600]);
    }
}
