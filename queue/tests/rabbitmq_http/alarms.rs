//! The management API publishes through a memory or disk alarm: whoever is not to do so has to know of it.

use std::time::Duration;

use serde_json::json;
use testbed::{Broker, eventually, versions};
use webhook_queue::{Publish, PublishError, Publisher, Readiness, setup};

use super::server::{Act, Server, routed};
use super::{config, event, soon};

const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_blocks_and_its_end_unblocks() {
    for version in versions() {
        let broker = Broker::start(version).await;
        let vhost = broker.vhost().await;
        let config = config(&vhost.publish_url());
        setup(&config).await.unwrap();
        let publisher = Publisher::open(&config).unwrap();
        publisher.publish(&event("before"), soon()).await.unwrap();
        broker.memory_alarm(true).await;
        eventually("the alarm is seen", PATIENCE, async || (publisher.readiness() != Readiness::Ready).then_some(()))
            .await;
        let outcome = publisher.publish(&event("blocked"), soon()).await;
        match outcome {
            Err(PublishError::Blocked(reason)) => assert!(reason.contains("memory"), "{reason}"),
            other => panic!("{other:?}"),
        }
        broker.memory_alarm(false).await;
        eventually("its end is seen", PATIENCE, async || (publisher.readiness() == Readiness::Ready).then_some(()))
            .await;
        publisher.publish(&event("after"), soon()).await.unwrap();
        assert!(vhost.get("e-conomic-webhooks").await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_see_alarms_publishes_on() {
    for status in [401, 403, 404] {
        let server =
            Server::start(Act::Answer(status, json!({"error": "not_authorised"}).to_string()), |_| routed()).await;
        let publisher = Publisher::open(&config(&server.url())).unwrap();
        for _ in 0..3 {
            publisher.publish(&event("1"), soon()).await.unwrap();
        }
    }
}

/// As after a freeze: what was seen long ago must keep nobody from publishing.
#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_nobody_has_seen_for_a_while_is_not_known() {
    let alarm = json!({"status": "failed", "alarms": [{"node": "n", "resource": "disk"}]}).to_string();
    let server = Server::start(Act::Answer(503, alarm), |_| routed()).await;
    let publisher = Publisher::open(&config(&server.url())).unwrap();
    eventually("the alarm is seen", PATIENCE, async || match publisher.publish(&event("1"), soon()).await {
        Err(PublishError::Blocked(reason)) if reason.contains("disk") => Some(()),
        _ => None,
    })
    .await;
    server.answer_questions(Act::Silence);
    eventually("the alarm is forgotten", PATIENCE, async || publisher.publish(&event("2"), soon()).await.ok()).await;
}
