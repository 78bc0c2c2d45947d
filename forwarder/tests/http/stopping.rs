//! Stopping: what has been accepted is finished, and nothing waits for the rest.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use webhook_queue::PublishError;

use crate::log::Log;
use crate::support::{Server, eventually, post};

#[tokio::test]
async fn a_request_in_hand_is_answered_before_the_host_stops() {
    let server = Server::open(&[]);
    server.queue.stall();
    let mut idle = server.connect().await;
    idle.send("GET / HTTP/1.1\r\n\r\n").await;
    idle.answer().await;
    let mut silent = server.connect().await;
    let mut publishing = server.connect().await;
    publishing.send(post("/webhooks/demo", "", "publishing")).await;
    let mut sending = server.connect().await;
    sending.send("POST /webhooks/demo HTTP/1.1\r\ncontent-length: 7\r\n\r\nsen").await;
    server.queue.wait_until("one is being published", |queue| queue.started() == 1).await;
    // The host has seen the other's first bytes too.
    assert_eq!(server.exchange("GET / HTTP/1.1\r\n\r\n").await.status, 200);

    server.stop();
    assert!(idle.is_closed().await && silent.is_closed().await);
    assert!(!server.has_stopped());
    sending.send("ding").await;
    server.queue.resume();
    for client in [&mut publishing, &mut sending] {
        let answer = client.answer().await;
        assert!(answer.status == 200 && answer.closes(), "{answer:?}");
        assert!(client.is_closed().await);
    }
    eventually("the host has stopped", || server.has_stopped()).await;
    assert_eq!(server.queue.events().len(), 2);
    assert!(server.queue.is_closed());
}

#[tokio::test]
async fn a_queue_that_stalls_does_not_keep_the_host_from_stopping() {
    let server = Server::open(&[("PUBLISH_TIMEOUT", "200ms")]);
    server.queue.stall();
    let mut client = server.connect().await;
    client.send(post("/webhooks/demo", "", "x")).await;
    server.queue.wait_until("it is being published", |queue| queue.started() == 1).await;
    let before = Instant::now();
    server.stop();
    assert_eq!(client.answer().await.status, 503);
    eventually("the host has stopped", || server.has_stopped()).await;
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn callers_that_the_kernel_has_accepted_are_answered() {
    let mut server = Server::prepare(&[("SOURCE_DEMO_OPEN", "yes")]);
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = server.connect().await;
        client.send(post("/webhooks/demo", "", "x")).await;
        clients.push(client);
    }
    server.stop();
    server.serve();
    for client in &mut clients {
        let answer = client.answer().await;
        assert!(answer.status == 200 && answer.closes(), "{answer:?}");
    }
    eventually("the host has stopped", || server.has_stopped()).await;
}

#[tokio::test]
async fn they_are_answered_too_when_places_have_to_fall_free_first() {
    let (server, mut clients) = Server::with_two_of(6).await;
    server.stop();
    assert!(clients[5].hears_nothing_for(Duration::from_millis(100)).await);
    assert!(!server.has_stopped());
    server.queue.resume();
    for client in &mut clients {
        let answer = client.answer().await;
        assert!(answer.status == 200 && answer.closes(), "{answer:?}");
    }
    eventually("the host has stopped", || server.has_stopped()).await;
}

#[tokio::test]
async fn a_caller_that_has_just_connected_may_still_begin() {
    let server = Server::open(&[]);
    let mut idle = server.connect().await;
    let mut connected = server.connect().await;
    idle.send("GET / HTTP/1.1\r\n\r\n").await;
    idle.answer().await;
    server.stop();
    assert!(idle.is_closed().await, "the host is stopping");
    assert!(connected.hears_nothing_for(Duration::from_millis(100)).await);
    connected.send(post("/webhooks/demo", "", "x")).await;
    assert_eq!(connected.answer().await.status, 200);
}

#[tokio::test]
async fn what_became_of_webhooks_is_told_at_the_end() {
    let log = Log::default();
    let _logging = log.of_this_thread();
    let server = Server::open(&[]);
    for _ in 0..2 {
        assert_eq!(server.post("/webhooks/demo", "x").await.status, 200);
    }
    assert_eq!(server.exchange("PUT /webhooks/demo HTTP/1.1\r\n\r\n").await.status, 405);
    server.queue.fail_with(|| PublishError::TimedOut);
    assert_eq!(server.post("/webhooks/demo", "x").await.status, 503);
    server.stop();
    eventually("the host has stopped", || server.has_stopped()).await;
    assert_snapshot!(log.lines_with("webhooks.taken").join("\n"), @"INFO webhook_forwarder::standalone::summary: webhooks since the last such line: 2 taken, 1 refused, 1 answered 503, 0 of them for want of room webhooks.taken=2 webhooks.refused=1 webhooks.failed=1 webhooks.shed=0");
}
