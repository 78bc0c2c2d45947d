//! Connections: many requests on one, more of them than allowed, and callers that leave.

use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::support::{ALL_ROOM, Server, post};

#[tokio::test]
async fn a_connection_carries_many_requests() {
    let server = Server::open(&[]);
    let mut client = server.connect().await;
    for body in ["one", "two"] {
        client.send(post("/webhooks/demo", "", body)).await;
        let answer = client.answer().await;
        assert!(answer.status == 200 && !answer.closes());
    }
    // Pipelined: answered in order.
    client
        .send(
            [post("/webhooks/demo", "", "three"), post("/webhooks/other", "", ""), post("/webhooks/demo", "", "four")]
                .concat(),
        )
        .await;
    let statuses = [client.answer().await.status, client.answer().await.status, client.answer().await.status];
    assert_eq!(statuses, [200, 404, 200]);
    let bodies: Vec<String> =
        server.queue.events().iter().map(|event| String::from_utf8(event.body.to_vec()).unwrap()).collect();
    assert_eq!(bodies, ["one", "two", "three", "four"]);

    client.send("POST /webhooks/demo HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(client.answer().await.closes() && client.is_closed().await);
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_one_that_waits() {
    let server = Server::open(&[("MAX_IN_FLIGHT", "2")]);
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    for client in [&mut first, &mut second] {
        client.send(post("/webhooks/demo", "", "x")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(server.post("/webhooks/demo", "x").await.status, 200);
    assert!(first.is_closed().await, "the one that was idle the longest goes");
    second.send(post("/webhooks/demo", "", "x")).await;
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn a_caller_that_says_nothing_makes_room() {
    let server = Server::open(&[("MAX_IN_FLIGHT", "2"), ("READ_TIMEOUT", "1h")]);
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    assert_eq!(server.post("/webhooks/demo", "x").await.status, 200);
    tokio::select! {
        closed = first.is_closed() => assert!(closed),
        closed = second.is_closed() => assert!(closed),
    }
}

#[tokio::test]
async fn a_head_that_stays_unfinished_makes_room() {
    let server = Server::open(&[("MAX_IN_FLIGHT", "1"), ("READ_TIMEOUT", "1h")]);
    let mut half = server.connect().await;
    half.send("POST /webhooks/demo HTTP/1.1\r\nhost: te").await;
    assert_eq!(server.post("/webhooks/demo", "x").await.status, 200);
    assert_snapshot!(half.answer().await.text(), @r#"
        HTTP/1.1 503 Service Unavailable
        content-type: application/problem+json
        retry-after: 1
        content-length: 104
        connection: close

        {"detail":"too many webhooks at a time","status":503,"title":"Service Unavailable","type":"about:blank"}
        "#);
    assert!(half.is_closed().await);
}

#[tokio::test]
async fn a_head_that_is_under_way_is_waited_for() {
    let server = Server::open(&[("MAX_IN_FLIGHT", "1")]);
    let mut slow = server.connect().await;
    slow.send("POST /webhooks/demo HTTP/1.1\r\n").await;
    let mut waiting = server.connect().await;
    waiting.send(post("/webhooks/demo", "", "x")).await;
    assert!(waiting.hears_nothing_for(Duration::from_secs(1)).await);
    slow.send("content-length: 1\r\n\r\nx").await;
    assert!(slow.answer().await.closes());
    assert_eq!(waiting.answer().await.status, 200);
    assert_eq!(server.queue.events().len(), 2);
}

#[tokio::test]
async fn nobody_makes_room_that_is_not_needed_any_more() {
    let server = Server::open(&[("MAX_IN_FLIGHT", "1")]);
    let first = server.connect().await;
    let mut slow = server.connect().await;
    slow.send("POST /webhooks/demo HTTP/1.1\r\n").await;
    // The host has asked for the first one's place.
    assert!(slow.hears_nothing_for(Duration::from_millis(100)).await);
    drop(first);
    assert!(slow.hears_nothing_for(Duration::from_millis(2500)).await);
    slow.send("content-length: 1\r\n\r\nx").await;
    assert_eq!(slow.answer().await.status, 200);
}

#[tokio::test]
async fn an_answered_caller_that_does_not_close_makes_room() {
    let server = Server::open(&[("MAX_IN_FLIGHT", "1")]);
    let mut first = server.connect().await;
    first.send("POST /nowhere HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf").await;
    assert_eq!(first.answer().await.status, 404);
    let before = Instant::now();
    assert_eq!(server.post("/webhooks/demo", "x").await.status, 200);
    // It would be read from for two seconds.
    assert!(before.elapsed() < Duration::from_millis(1500), "{:?}", before.elapsed());
}

#[tokio::test]
async fn an_answer_makes_room_where_nobody_is_idle() {
    let server = Server::open(&[("MAX_IN_FLIGHT", "1")]);
    server.queue.stall();
    let mut first = server.connect().await;
    first.send(post("/webhooks/demo", "", "x")).await;
    server.queue.wait_until("the first is being published", |queue| queue.started() == 1).await;
    let mut second = server.connect().await;
    second.send(post("/webhooks/demo", "", "x")).await;
    // The host has accepted the second and found no place for it.
    assert!(second.hears_nothing_for(Duration::from_millis(100)).await);
    server.queue.resume();
    assert!(first.answer().await.closes());
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_are_served() {
    let (server, mut clients) = Server::with_two_of(6).await;
    assert!(clients[5].hears_nothing_for(Duration::from_millis(100)).await);
    assert_eq!(server.queue.started(), 2);
    server.queue.resume();
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn large_bodies_wait_for_room_and_small_ones_pass() {
    let server =
        Server::open(&[("MAX_IN_FLIGHT", "16"), ("MAX_IN_FLIGHT_BYTES", "2000000"), ("MAX_BODY_BYTES", "1000000")]);
    server.queue.stall();
    // Room for two, as long as each takes only what it needs.
    let large = post("/webhooks/demo", "", vec![b'x'; 700_000]);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        // What is not read yet must not hold up this test.
        let request = large.clone();
        clients.push(tokio::spawn(async move {
            client.send(request).await;
            client.answer().await.status
        }));
    }
    server.queue.wait_until("two large bodies are being published", |queue| queue.started() == 2).await;
    let mut small = server.connect().await;
    small.send(post("/webhooks/demo", "", "small")).await;
    let mut chunked = server.connect().await;
    chunked.send("POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nsmall\r\n0\r\n\r\n").await;
    server.queue.wait_until("so are both small ones", |queue| queue.started() == 4).await;
    server.queue.resume();
    for client in clients {
        assert_eq!(client.await.unwrap(), 200);
    }
    assert_eq!((small.answer().await.status, chunked.answer().await.status), (200, 200));
}

#[tokio::test]
async fn what_finds_no_room_in_time_is_503() {
    let (server, mut first) = Server::with_all_room_taken("10s").await;
    let mut chunked = server.connect().await;
    let piece = "x".repeat(20_000);
    chunked
        .send(format!("POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4e20\r\n{piece}\r\n"))
        .await;
    let answer = server.post("/webhooks/demo", vec![b'x'; ALL_ROOM]).await;
    assert_eq!((answer.status, answer.header("retry-after"), answer.closes()), (503, Some("1"), true));
    assert_eq!(chunked.answer().await.status, 503);
    // Both while the first was still being published.
    server.queue.resume();
    assert_eq!(first.answer().await.status, 200);
}

#[tokio::test]
async fn a_source_whose_callers_are_slow_leaves_room_for_the_others() {
    let server = Server::open(&[
        ("SOURCE_OTHER_OPEN", "yes"),
        ("MAX_IN_FLIGHT", "16"),
        ("MAX_IN_FLIGHT_BYTES", "4000000"),
        ("MAX_BODY_BYTES", "1500000"),
    ]);
    let body = vec![b'x'; 1_500_000];
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send(&post("/webhooks/demo", "", &body)[..1000]).await;
        slow.push(client);
    }
    assert!(slow[2].hears_nothing_for(Duration::from_millis(100)).await);
    assert_eq!(server.post("/webhooks/other", &body).await.status, 200);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_the_publish() {
    let server = Server::open(&[]);
    server.queue.stall();
    let mut client = server.connect().await;
    client.send(post("/webhooks/demo", "", "left")).await;
    server.queue.wait_until("it is being published", |queue| queue.started() == 1).await;
    drop(client);
    // The host has had its chance to notice.
    assert_eq!(server.exchange("GET / HTTP/1.1\r\n\r\n").await.status, 200);
    server.queue.resume();
    server.queue.wait_until("it is on the queue", |queue| queue.events().len() == 1).await;
}

#[tokio::test]
async fn a_caller_that_closes_its_half_is_answered() {
    let server = Server::open(&[]);
    server.queue.stall();
    let mut client = server.connect().await;
    client.send(post("/webhooks/demo", "", "x")).await;
    client.finish().await;
    server.queue.wait_until("it is being published", |queue| queue.started() == 1).await;
    server.queue.resume();
    assert_eq!(client.answer().await.status, 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_request_with_two_lengths_smuggles_nothing() {
    let server = Server::open(&[]);
    let hidden = "POST /webhooks/demo HTTP/1.1\r\ncontent-length: 8\r\n\r\nsmuggled";
    let mut client = server.connect().await;
    let both = format!(
        "POST /webhooks/demo HTTP/1.1\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        5 + hidden.len()
    );
    client.send(both).await;
    client.answer().await;
    assert!(client.is_closed().await);
    assert!(server.queue.events().iter().all(|event| event.body != "smuggled"));
}

#[tokio::test]
async fn an_upgrade_is_not_taken_up() {
    let server = Server::open(&[]);
    let request = post("/webhooks/demo", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\n", "x");
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.send(&request).await;
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(server.exchange("CONNECT example.org:443 HTTP/1.1\r\n\r\n").await.status, 404);
}
