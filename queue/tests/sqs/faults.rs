//! Failures of SQS and of the network before it.

use std::time::Duration;

use serde_json::json;
use testbed::{Moto, Proxy};
use tokio::task::JoinSet;
use tokio::time::Instant;
use webhook_queue::{Event, Publish, PublishError, Publisher, Readiness};

use super::{config, publisher, soon};

/// How much later than its deadline an answer may be on a busy machine.
const SLACK: Duration = Duration::from_millis(400);

fn event() -> Event {
    Event::new("shop", "order", "x")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_is_unroutable_and_names_the_command_that_makes_it() {
    let queue = Moto::shared().await.absent_queue(false);
    let publisher = publisher(&queue.url());
    let error = publisher.publish(&event(), soon()).await.unwrap_err();
    assert!(matches!(error, PublishError::Unroutable(_)), "{error:?}");
    assert!(error.to_string().contains("`webhook-forwarder setup`"), "{error}");
    assert!(matches!(publisher.readiness(), Readiness::NotReady(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_unreachable_by_the_deadline() {
    let moto = Moto::shared().await;
    let (queue, proxy) = (moto.queue(false, json!({})).await, Proxy::start(moto.addr()).await);
    let publisher = publisher(&queue.url_via(proxy.addr()));
    proxy.cut();
    for wait in [50, 500, 1_000] {
        let deadline = Instant::now() + Duration::from_millis(wait);
        let error = publisher.publish(&event(), deadline).await.unwrap_err();
        assert!(Instant::now() <= deadline + SLACK);
        assert!(matches!(error, PublishError::Unreachable(_) | PublishError::TimedOut), "{error:?}");
    }
    assert!(matches!(publisher.readiness(), Readiness::NotReady(_)));
    proxy.heal();
    publisher.publish(&event(), soon()).await.unwrap();
    assert_eq!(publisher.readiness(), Readiness::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_timed_out_at_the_deadline() {
    let moto = Moto::shared().await;
    let (queue, proxy) = (moto.queue(false, json!({})).await, Proxy::start(moto.addr()).await);
    let publisher = publisher(&queue.url_via(proxy.addr()));
    publisher.publish(&event(), soon()).await.unwrap();
    proxy.stall();
    for wait in [0, 50, 500, 2_500] {
        let deadline = Instant::now() + Duration::from_millis(wait);
        let error = publisher.publish(&event(), deadline).await.unwrap_err();
        assert!(Instant::now() <= deadline + SLACK);
        assert!(matches!(error, PublishError::TimedOut), "{error:?}");
    }
}

/// As after a freeze: the connections of before are gone, and nobody here knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_costs_no_event() {
    let moto = Moto::shared().await;
    let (queue, proxy) = (moto.queue(false, json!({})).await, Proxy::start(moto.addr()).await);
    let publisher = publisher(&queue.url_via(proxy.addr()));
    for _ in 0..5 {
        let mut burst = JoinSet::new();
        for _ in 0..4 {
            let publisher = publisher.clone();
            burst.spawn(async move { publisher.publish(&event(), soon()).await });
        }
        burst.join_all().await.into_iter().collect::<Result<Vec<()>, _>>().unwrap();
        proxy.cut();
        proxy.heal();
        publisher.publish(&event(), Instant::now() + Duration::from_millis(2_500)).await.unwrap();
    }
}

/// A connection that swallows what is sent is given up while there is time for another.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_replaced_within_the_deadline() {
    let moto = Moto::shared().await;
    let (queue, proxy) = (moto.queue(false, json!({})).await, Proxy::start(moto.addr()).await);
    let publisher = publisher(&queue.url_via(proxy.addr()));
    publisher.publish(&event(), soon()).await.unwrap();
    proxy.stall();
    let publishing = {
        let publisher = publisher.clone();
        tokio::spawn(async move { publisher.publish(&event(), Instant::now() + Duration::from_secs(5)).await })
    };
    // While the first attempt waits for an answer, its connection dies and the network comes back.
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.cut();
    proxy.heal();
    publishing.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn close_awaits_what_is_in_flight_and_fails_what_is_new() {
    let queue = Moto::shared().await.queue(false, json!({})).await;
    let publisher = publisher(&queue.url());
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let publisher = publisher.clone();
        tasks.spawn(async move { publisher.publish(&event(), soon()).await.is_ok() });
    }
    tokio::task::yield_now().await;
    publisher.close().await;
    assert!(matches!(publisher.publish(&event(), soon()).await, Err(PublishError::Unreachable(_))));
    let confirmed = tasks.join_all().await.into_iter().filter(|ok| *ok).count();
    assert_eq!(queue.take_all().await.len(), confirmed);
}

#[test]
fn without_credentials_it_does_not_open() {
    let mut config = config("https://sqs.eu-north-1.amazonaws.com/123456789012/hooks");
    config.aws_credentials = None;
    let error = Publisher::open(&config).unwrap_err().to_string();
    assert!(error.starts_with("AWS_ACCESS_KEY_ID: is not set"), "{error}");
}
