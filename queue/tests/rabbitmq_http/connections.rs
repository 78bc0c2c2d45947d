//! Connections that end, hang or lie idle, and what a request looks like on one.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use webhook_queue::{Publish, PublishError, Publisher};

use super::server::{Act, Server, ok, routed};
use super::{config, event, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_write_on_a_connection_that_is_kept() {
    let server = Server::answering(200, json!({"routed": true})).await;
    let publisher = Publisher::open(&config(&server.url())).unwrap();
    for _ in 0..50 {
        publisher.publish(&event(&"x".repeat(4000)), soon()).await.unwrap();
    }
    let seen = server.seen();
    assert!(seen.iter().all(|seen| seen.reads == 1), "{:?}", seen.iter().map(|seen| seen.reads).collect::<Vec<_>>());
    let connections = seen.iter().map(|seen| seen.connection).max().unwrap();
    assert!(connections <= 1, "{connections} connections");
    assert!(
        seen[0].head.starts_with("POST /api/exchanges/v/e-conomic.direct/publish HTTP/1.1\r\n"),
        "{}",
        seen[0].head
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_dropped_costs_no_event() {
    let server = Server::start(ok(), |number| if number == 1 { Act::HangUp } else { routed() }).await;
    let publisher = Publisher::open(&config(&server.url())).unwrap();
    publisher.publish(&event("first"), soon()).await.unwrap();
    let second = event("second");
    publisher.publish(&second, soon()).await.unwrap();
    let seen = server.seen();
    let facts = seen.iter().map(|seen| (seen.connection, seen.body["properties"]["message_id"] == json!(second.id)));
    assert_eq!(facts.collect::<Vec<_>>(), [(1, false), (1, true), (2, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_twice_is_unreachable() {
    let server = Server::start(ok(), |number| if number == 0 { routed() } else { Act::HangUp }).await;
    let publisher = Publisher::open(&config(&server.url())).unwrap();
    publisher.publish(&event("1"), soon()).await.unwrap();
    let outcome = publisher.publish(&event("2"), soon()).await;
    assert!(matches!(outcome, Err(PublishError::Unreachable(_))), "{outcome:?}");
    assert_eq!(server.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [1, 1, 2]);
}

/// Whoever is in between has forgotten the connection, and drops what comes over it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_fallen_silent_costs_no_event() {
    let server = Server::start(ok(), |number| if number == 1 { Act::Silence } else { routed() }).await;
    let publisher = Publisher::open(&config(&server.url())).unwrap();
    publisher.publish(&event("first"), soon()).await.unwrap();
    let second = event("second");
    publisher.publish(&second, Instant::now() + Duration::from_secs(2)).await.unwrap();
    publisher.publish(&event("third"), soon()).await.unwrap();
    let facts = server.seen();
    let facts = facts.iter().map(|seen| (seen.connection, seen.body["properties"]["message_id"] == json!(second.id)));
    assert_eq!(facts.collect::<Vec<_>>(), [(1, false), (1, true), (2, true), (2, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_at_all_is_waited_for_until_the_deadline() {
    let server = Server::start(ok(), |number| if number == 0 { routed() } else { Act::Silence }).await;
    let publisher = Publisher::open(&config(&server.url())).unwrap();
    publisher.publish(&event("1"), soon()).await.unwrap();
    let deadline = Instant::now() + Duration::from_millis(300);
    let outcome = publisher.publish(&event("2"), deadline).await;
    assert!(matches!(outcome, Err(PublishError::TimedOut)), "{outcome:?}");
    assert!(Instant::now() < deadline + Duration::from_millis(400));
}

/// As after a freeze.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_lain_idle_is_not_used() {
    let server = Server::start(ok(), |_| routed()).await;
    let publisher = Publisher::open(&config(&server.url())).unwrap();
    publisher.publish(&event("1"), soon()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    publisher.publish(&event("2"), soon()).await.unwrap();
    assert_eq!(server.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_opens_a_bounded_number_of_connections() {
    let server = Server::start(ok(), |_| {
        std::thread::sleep(Duration::from_millis(1));
        routed()
    })
    .await;
    let publisher = Publisher::open(&config(&server.url())).unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..500 {
        let publisher = publisher.clone();
        tasks.spawn(async move { publisher.publish(&event(&number.to_string()), soon()).await.unwrap() });
    }
    tasks.join_all().await;
    let connections = server.seen().iter().map(|seen| seen.connection).max().unwrap();
    assert!(connections <= 32, "{connections} connections");
}
