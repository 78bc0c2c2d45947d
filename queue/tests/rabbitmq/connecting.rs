//! Connections that the broker refuses, and connections that are dead without anybody having said so.

use std::time::Duration;

use serde_json::json;
use testbed::{Broker, Proxy, Version, Vhost, versions};
use tokio::task::JoinSet;
use tokio::time::Instant;
use webhook_queue::{Event, Publish, PublishError, Publisher, Readiness, setup};

use super::{config, soon};

/// What a forwarder gives a queue.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(2500);

fn event() -> Event {
    Event::new("shop", "order", "x")
}

async fn limit_connections(vhost: &Vhost, method: &str) {
    let path = format!("vhost-limits/{}/max-connections", vhost.name());
    let (status, body) = vhost.api(method, &path, Some(json!({"value": 0}))).await;
    assert!((200..300).contains(&status), "{status} {body}");
}

/// The broker's own word, well before the deadline.
async fn refused(publisher: &Publisher) -> String {
    let began = Instant::now();
    match publisher.publish(&event(), began + Duration::from_secs(20)).await {
        Err(PublishError::Refused(reason)) => {
            assert!(began.elapsed() < Duration::from_secs(15), "it was waited for");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_room_for_a_connection_refuses_at_once() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        let config = config(&vhost.amqp_url());
        setup(&config).await.unwrap();
        limit_connections(&vhost, "PUT").await;
        let publisher = Publisher::open(&config).unwrap();
        let reason = refused(&publisher).await;
        assert!(reason.contains("connection limit"), "{reason}");
        assert!(matches!(publisher.readiness(), Readiness::NotReady(_)));
        limit_connections(&vhost, "DELETE").await;
        let give_up = soon();
        while let Err(error) = publisher.publish(&event(), Instant::now() + PUBLISH_TIMEOUT).await {
            assert!(Instant::now() < give_up, "it stays refused: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_at_once_and_stays_out_of_the_error() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        let url = vhost.amqp_url();
        let (login, address) = url.split_once('@').unwrap();
        let publisher = Publisher::open(&config(&format!("{login}-s3cret@{address}"))).unwrap();
        let reason = refused(&publisher).await;
        assert!(reason.contains("ACCESS_REFUSED") && !reason.contains("s3cret"), "{reason}");
    }
}

/// Between two publishes somebody on the way has forgotten the connection: no reset, no answer, only new connections pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_unnoticed_costs_no_event() {
    for version in versions() {
        let broker = Broker::shared(version).await;
        let (vhost, proxy) = (broker.vhost().await, Proxy::start(broker.amqp_addr()).await);
        setup(&config(&vhost.amqp_url())).await.unwrap();
        let publisher = Publisher::open(&config(&vhost.amqp_url_via(proxy.addr()))).unwrap();
        publisher.publish(&event(), soon()).await.unwrap();
        for _ in 0..5 {
            proxy.forget();
            let mut together = JoinSet::new();
            for _ in 0..200 {
                let publisher = publisher.clone();
                together.spawn(async move { publisher.publish(&event(), Instant::now() + PUBLISH_TIMEOUT).await });
            }
            for outcome in together.join_all().await {
                outcome.unwrap();
            }
        }
    }
}

/// The publisher asks for itself every few seconds whether the broker is there. Such a question may be on its way, and will
/// have no answer, when a publish finds out that the connection is dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_an_answer_keeps_nobody_from_a_new_connection() {
    const PROBE_INTERVAL: Duration = Duration::from_secs(4);
    let broker = Broker::shared(Version::V3).await;
    let (vhost, proxy) = (broker.vhost().await, Proxy::start(broker.amqp_addr()).await);
    setup(&config(&vhost.amqp_url())).await.unwrap();
    let publisher = Publisher::open(&config(&vhost.amqp_url_via(proxy.addr()))).unwrap();
    publisher.publish(&event(), soon()).await.unwrap();
    proxy.forget();
    tokio::time::sleep(PROBE_INTERVAL + Duration::from_millis(500)).await;
    publisher.publish(&event(), Instant::now() + PUBLISH_TIMEOUT).await.unwrap();
}

/// To publish to an exchange that does not exist ends a channel, and says so to whoever watches the connection.
#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_no_to_an_event_is_not_the_end_of_the_connection() {
    for version in versions() {
        let broker = Broker::shared(version).await;
        let (vhost, proxy) = (broker.vhost().await, Proxy::start(broker.amqp_addr()).await);
        let publisher = Publisher::open(&config(&vhost.amqp_url_via(proxy.addr()))).unwrap();
        for _ in 0..20 {
            let mut together = JoinSet::new();
            for _ in 0..20 {
                let publisher = publisher.clone();
                together.spawn(async move { publisher.publish(&event(), soon()).await });
            }
            for outcome in together.join_all().await {
                assert!(matches!(&outcome, Err(PublishError::Unroutable(_))), "{outcome:?}");
            }
        }
        setup(&config(&vhost.amqp_url())).await.unwrap();
        publisher.publish(&event(), soon()).await.unwrap();
        assert_eq!(proxy.connections(), 1);
    }
}
