//! Bodies: how they arrive, how long they may be, and what becomes of those that never end.

use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::support::{ALL_ROOM, Server, post};

#[tokio::test]
async fn every_way_to_send_a_body_is_understood() {
    let server = Server::open(&[]);
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(server.post("/webhooks/demo", &all).await.status, 200);
    assert_eq!(server.exchange("POST /webhooks/demo HTTP/1.1\r\n\r\n").await.status, 200);
    let chunked = "POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: r\r\n\r\n";
    assert_eq!(server.exchange(chunked).await.status, 200);
    let answer = server.exchange("POST /webhooks/demo HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi").await;
    assert!(answer.status == 200 && answer.text().starts_with("HTTP/1.0 200 OK"), "{answer:?}");
    let bodies: Vec<Vec<u8>> = server.queue.events().iter().map(|event| event.body.to_vec()).collect();
    assert_eq!(bodies, [all, b"".to_vec(), b"abcde".to_vec(), b"hi".to_vec()]);
}

#[tokio::test]
async fn a_body_may_arrive_in_pieces() {
    let server = Server::open(&[]);
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = server.connect().await;
    for piece in post("/webhooks/demo", "", &body).chunks(77_777) {
        client.send(piece).await;
    }
    assert_eq!(client.answer().await.status, 200);
    let mut client = server.connect().await;
    client.send("POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for piece in body.chunks(99_999) {
        client.send(format!("{:x}\r\n", piece.len())).await;
        client.send(piece).await;
        client.send("\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(server.queue.events().iter().all(|event| event.body == body));
}

#[tokio::test]
async fn continue_is_said_only_when_the_body_is_wanted() {
    let server = Server::open(&[("MAX_BODY_BYTES", "4")]);
    let head =
        |length| format!("POST /webhooks/demo HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n");
    let mut client = server.connect().await;
    client.send(head(4)).await;
    assert_eq!(client.answer().await.status, 100);
    client.send("body").await;
    assert_eq!(client.answer().await.status, 200);

    let mut client = server.connect().await;
    client.send(head(5)).await;
    let answer = client.answer().await;
    assert!(answer.status == 413 && answer.closes());
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_413() {
    let server = Server::open(&[("MAX_BODY_BYTES", "100KiB")]);
    let most = vec![b'x'; 100 * 1000];
    assert_eq!(server.post("/webhooks/demo", &most).await.status, 200);
    // At once: not one byte of the body is sent.
    let announced = "POST /webhooks/demo HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n";
    assert_snapshot!(server.exchange(announced).await.text(), @r#"
        HTTP/1.1 413 Payload Too Large
        content-type: application/problem+json
        connection: close
        content-length: 111

        {"detail":"the body is longer than 102400 bytes","status":413,"title":"Payload Too Large","type":"about:blank"}
        "#);
    // Even a caller that sends on regardless reads the answer.
    assert_eq!(server.post("/webhooks/demo", vec![b'x'; 30_000_000]).await.status, 413);

    let mut client = server.connect().await;
    client.send("POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for _ in 0..101 {
        client.send(format!("400\r\n{}\r\n", "x".repeat(1024))).await;
    }
    assert_eq!(client.answer().await.status, 413);
    assert_eq!(server.queue.events().len(), 1);
}

#[tokio::test]
async fn a_body_that_ends_early_is_400() {
    let server = Server::open(&[]);
    for bytes in [
        "POST /webhooks/demo HTTP/1.1\r\ncontent-length: 10\r\n\r\nhalf",
        "POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(bytes).await;
        client.finish().await;
        let answer = client.answer().await;
        assert!(answer.status == 400 && answer.closes(), "{answer:?}");
    }
    assert_eq!(server.queue.started(), 0);
}

#[tokio::test]
async fn a_slow_request_is_400_and_harms_nobody() {
    let server = Server::open(&[("READ_TIMEOUT", "300ms"), ("MAX_IN_FLIGHT", "8")]);
    let mut slow_head = server.connect().await;
    slow_head.send("POST /webhooks/demo HTTP/1.1\r\nhost: te").await;
    let mut slow_body = server.connect().await;
    slow_body.send("POST /webhooks/demo HTTP/1.1\r\ncontent-length: 9\r\n\r\nslow").await;
    let mut slow_chunks = server.connect().await;
    slow_chunks.send("POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await;
    let mut silent = server.connect().await;

    assert_eq!(server.post("/webhooks/demo", "quick").await.status, 200);
    assert_snapshot!(slow_head.answer().await.text(), @r#"
        HTTP/1.1 400 Bad Request
        content-type: application/problem+json
        content-length: 103
        connection: close

        {"detail":"the request did not arrive in time","status":400,"title":"Bad Request","type":"about:blank"}
        "#);
    assert_snapshot!(slow_body.answer().await.text(), @r#"
        HTTP/1.1 400 Bad Request
        content-type: application/problem+json
        connection: close
        content-length: 100

        {"detail":"the body did not arrive in time","status":400,"title":"Bad Request","type":"about:blank"}
        "#);
    assert_eq!(slow_chunks.answer().await.status, 400);
    assert!(slow_head.is_closed().await && slow_body.is_closed().await && slow_chunks.is_closed().await);
    assert!(silent.is_closed().await);
    assert_eq!(server.queue.started(), 1);
}

#[tokio::test]
async fn head_and_body_share_the_time() {
    let server = Server::open(&[("READ_TIMEOUT", "600ms")]);
    let before = Instant::now();
    let mut client = server.connect().await;
    client.send("POST /webhooks/demo HTTP/1.1\r\ncontent-length: 9\r\n").await;
    assert!(client.hears_nothing_for(Duration::from_millis(400)).await);
    client.send("\r\nslow").await;
    assert_eq!(client.answer().await.status, 400);
    assert!(before.elapsed() < Duration::from_millis(900), "{:?}", before.elapsed());
}

#[tokio::test]
async fn time_spent_waiting_for_room_is_not_the_callers() {
    let (server, mut first) = Server::with_all_room_taken("1s").await;
    let mut second = server.connect().await;
    let request = post("/webhooks/demo", "", vec![b'x'; ALL_ROOM]);
    second.send(&request[..1000]).await;
    assert!(second.hears_nothing_for(Duration::from_millis(700)).await);
    server.queue.resume();
    assert_eq!(first.answer().await.status, 200);
    assert!(second.hears_nothing_for(Duration::from_millis(500)).await);
    second.send(&request[1000..]).await;
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn a_trickle_does_not_extend_the_time() {
    let server = Server::open(&[("READ_TIMEOUT", "300ms")]);
    for start in ["POST /webhooks/demo?", "POST /webhooks/demo HTTP/1.1\r\ncontent-length: 100\r\n\r\n"] {
        let mut client = server.connect().await;
        client.send(start).await;
        let mut sent = 0;
        while client.hears_nothing_for(Duration::from_millis(50)).await {
            client.send("x").await;
            sent += 1;
            assert!(sent < 20, "a trickle must not keep a request alive");
        }
        assert_eq!(client.answer().await.status, 400);
    }
}
