//! Ways to lose an event, to hang or to grow that a hostile eye has found. None of them may come back.

use std::time::Duration;

use serde_json::json;
use testbed::{Broker, Proxy, Version, eventually, in_time, versions};
use tokio::task::JoinSet;
use tokio::time::timeout;
use webhook_queue::{
    DeadLetter, Event, Publish, PublishError, Publisher, Reason, Settlement, State, Subscribe, Subscriber, setup,
};

use super::{config, next, soon};

const PATIENCE: Duration = Duration::from_secs(20);

fn letter() -> Settlement {
    Settlement::DeadLetter(DeadLetter { reason: Reason::Handler, error: String::new(), handler: None })
}

/// The broker ends a connection on which it sees a larger frame, and with it every publish in flight.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_fill_more_than_a_frame_fail_alone() {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    let config = config(&vhost.amqp_url());
    setup(&config).await.unwrap();
    let publisher = Publisher::open(&config).unwrap();
    let mut innocent = JoinSet::new();
    for _ in 0..16 {
        let publisher = publisher.clone();
        innocent.spawn(async move {
            for _ in 0..50 {
                publisher.publish(&Event::new("shop", "order", "x"), soon()).await.unwrap();
            }
        });
    }
    let mut large = Event::new("shop", "order", "x");
    large.tracestate = Some("x".repeat(140_000));
    for _ in 0..20 {
        let outcome = publisher.publish(&large, soon()).await;
        assert!(matches!(outcome, Err(PublishError::Refused(_))), "{outcome:?}");
    }
    innocent.join_all().await;
}

/// Since 4.0 a quorum queue drops what was handed back twenty times, unless it is told otherwise. An operator who looks
/// at a dead letter on the management page hands it back each time, and so does a replay that fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_can_be_looked_at_any_number_of_times() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        let config = config(&vhost.amqp_url());
        setup(&config).await.unwrap();
        let mut subscriber = Subscriber::open(&config, 10).unwrap();
        Publisher::open(&config).unwrap().publish(&Event::new("shop", "order", "x"), soon()).await.unwrap();
        in_time("the settlement", next(&mut subscriber).await.settle(letter())).await.unwrap();
        let path = format!("queues/{}/e-conomic-webhooks.dead/get", vhost.name());
        let look = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "base64"});
        for time in 0..50 {
            let (status, seen) = vhost.api("POST", &path, Some(look.clone())).await;
            assert_eq!((status, seen.as_array().map(Vec::len)), (200, Some(1)), "{version:?}, look {time}");
        }
    }
}

/// Whoever holds a delivery may be busy for long, while the connection breaks again and again.
#[tokio::test(flavor = "multi_thread")]
async fn what_broken_connections_had_delivered_is_not_kept() {
    const EVENTS: u16 = 10;
    const BODY_BYTES: usize = 4 << 20;
    const BREAKS: usize = 10;
    let broker = Broker::shared(Version::V3).await;
    let (vhost, proxy) = (broker.vhost().await, Proxy::start(broker.amqp_addr()).await);
    let direct = config(&vhost.amqp_url());
    setup(&direct).await.unwrap();
    let publisher = Publisher::open(&direct).unwrap();
    for _ in 0..EVENTS {
        publisher.publish(&Event::new("shop", "order", vec![1; BODY_BYTES]), soon()).await.unwrap();
    }
    let subscriber = Subscriber::open(&config(&vhost.amqp_url_via(proxy.addr())), EVENTS).unwrap();
    let mut state = subscriber.state();
    let mut becomes = async |wanted| {
        drop(timeout(PATIENCE, state.wait_for(|now| *now == wanted)).await.expect("the state follows").unwrap());
    };
    let all_are_held = async || {
        eventually("all events are held", PATIENCE, async || {
            let ready = vhost.queue("e-conomic-webhooks").await?["messages_ready"].as_u64()?;
            (ready == 0).then_some(())
        })
        .await;
    };
    becomes(State::Receiving).await;
    all_are_held().await;
    let before = resident_bytes();
    for _ in 0..BREAKS {
        proxy.cut();
        becomes(State::Connecting).await;
        proxy.heal();
        becomes(State::Receiving).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    let limit = usize::from(EVENTS) * BODY_BYTES * 2;
    assert!(grown < limit, "{BREAKS} broken connections left {} MiB behind", grown >> 20);
    drop(subscriber);
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
