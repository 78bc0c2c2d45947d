//! Among many publishes at once, each is told its own outcome.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;
use testbed::{Broker, in_time, versions};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use webhook_queue::{Event, Publish, PublishError, Publisher, Settlement, Subscribe, Subscriber, setup};

use super::{config, next, soon};

const PUBLISHES: usize = 10_000;
const AT_ONCE: usize = 64;
/// What the full queue holds before it refuses.
const ROOM: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ok_if_and_only_if_the_event_is_on_a_queue() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        let mut config = config(&vhost.amqp_url());
        config.name = "quorum".into();
        config.routing_key = "{type}".into();
        setup(&{
            let mut classic = config.clone();
            classic.name = "unused".into();
            classic
        })
        .await
        .unwrap();
        vhost.declare_queue("quorum", json!({"x-queue-type": "quorum"})).await;
        vhost.declare_queue("full", json!({"x-max-length": ROOM, "x-overflow": "reject-publish"})).await;
        vhost.bind("e-conomic.direct", "quorum", "quorum").await;
        vhost.bind("e-conomic.direct", "full", "full").await;

        let publisher = Publisher::open(&config).unwrap();
        let (mut confirmed, refused, unroutable) = publish_everywhere(&publisher).await;
        assert!(refused > PUBLISHES / 4 && unroutable > PUBLISHES / 4, "{refused} refused, {unroutable} unroutable");
        println!("{version:?}: {} confirmed, {refused} refused, {unroutable} unroutable", confirmed.len());

        for queue in ["quorum", "full"] {
            config.name = queue.into();
            config.declare = false;
            let mut subscriber = Subscriber::open(&config, 500).unwrap();
            let expected = confirmed.iter().filter(|id| id.starts_with(queue)).count();
            for _ in 0..expected {
                let delivery = next(&mut subscriber).await;
                assert!(confirmed.remove(&delivery.event().id), "{} was found and not confirmed", delivery.event().id);
                in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
            }
            in_time("the close", subscriber.close()).await;
            assert_eq!(vhost.get(queue).await, None, "more was found than was confirmed");
        }
        assert!(confirmed.is_empty(), "{} were confirmed and not found", confirmed.len());
    }
}

async fn publish_everywhere(publisher: &Publisher) -> (HashSet<String>, usize, usize) {
    let mut outcomes = JoinSet::new();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    for i in 0..PUBLISHES {
        let permit = permits.clone().acquire_owned().await.unwrap();
        let publisher = publisher.clone();
        outcomes.spawn(async move {
            let _permit = permit;
            let key = ["quorum", "nothing", "full"][i % 3];
            let mut event = Event::new("shop", key, "x");
            event.id = format!("{key}-{i}");
            let outcome = publisher.publish(&event, soon()).await;
            (event.id, outcome)
        });
    }
    let (mut confirmed, mut refused, mut unroutable) = (HashSet::new(), 0, 0);
    while let Some(outcome) = outcomes.join_next().await {
        match outcome.unwrap() {
            (id, Ok(())) => _ = confirmed.insert(id),
            (id, Err(PublishError::Refused(_))) => {
                assert!(id.starts_with("full"));
                refused += 1;
            }
            (id, Err(PublishError::Unroutable(_))) => {
                assert!(id.starts_with("nothing"));
                unroutable += 1;
            }
            (id, Err(error)) => panic!("{id}: {error}"),
        }
    }
    (confirmed, refused, unroutable)
}
