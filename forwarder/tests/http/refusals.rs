//! Every status but 200, and that the reasons are looked at in the right order.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use webhook_queue::{PublishError, Readiness};

use crate::support::{Server, post};

#[tokio::test]
async fn health_is_answered_on_its_paths() {
    let server = Server::open(&[]);
    for path in ["/", "/healthz", "/readyz", "/api/healthz"] {
        let answer = server.exchange(format!("GET {path} HTTP/1.1\r\n\r\n")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"status":"ok"}"#), "{path}");
    }
    assert_eq!(head_only(&server, "/healthz").await, 200);
    assert_snapshot!(server.post("/healthz", "").await.text(), @r#"
        HTTP/1.1 405 Method Not Allowed
        content-type: application/problem+json
        allow: GET, HEAD
        content-length: 106

        {"detail":"the method is not allowed here","status":405,"title":"Method Not Allowed","type":"about:blank"}
        "#);
}

/// What HEAD is answered: a status, and a length but no body.
async fn head_only(server: &Server, path: &str) -> u16 {
    let mut client = server.connect().await;
    client.send(format!("HEAD {path} HTTP/1.1\r\nconnection: close\r\n\r\n")).await;
    let bytes = client.read_to_end().await;
    assert!(bytes.contains("content-length: ") && bytes.ends_with("\r\n\r\n"), "{bytes}");
    bytes[9..12].parse().unwrap()
}

#[tokio::test]
async fn readiness_is_what_the_queue_says() {
    let server = Server::open(&[]);
    server.queue.set_readiness(Readiness::NotReady("connection refused by mq.internal".to_owned()));
    assert_snapshot!(server.exchange("GET /readyz HTTP/1.1\r\n\r\n").await.text(), @r#"
        HTTP/1.1 503 Service Unavailable
        content-type: application/problem+json
        retry-after: 1
        content-length: 99

        {"detail":"the queue is not ready","status":503,"title":"Service Unavailable","type":"about:blank"}
        "#);
    assert_eq!(server.exchange("GET /healthz HTTP/1.1\r\n\r\n").await.status, 200);
    assert_eq!(server.queue.started(), 0);
}

#[tokio::test]
async fn an_unknown_path_is_404_and_another_method_405() {
    let server = Server::open(&[]);
    assert_snapshot!(server.post("/webhooks/other", "x").await.text(), @r#"
        HTTP/1.1 404 Not Found
        content-type: application/problem+json
        connection: close
        content-length: 99

        {"detail":"nothing is received at this path","status":404,"title":"Not Found","type":"about:blank"}
        "#);
    assert_eq!(server.post("/elsewhere", "x").await.status, 404);
    assert_eq!(server.exchange("GET /webhooks/other HTTP/1.1\r\n\r\n").await.status, 404);
    assert_snapshot!(server.exchange("GET /webhooks/demo HTTP/1.1\r\n\r\n").await.text(), @r#"
        HTTP/1.1 405 Method Not Allowed
        content-type: application/problem+json
        allow: POST
        content-length: 106

        {"detail":"the method is not allowed here","status":405,"title":"Method Not Allowed","type":"about:blank"}
        "#);
    assert_eq!(head_only(&server, "/webhooks/demo").await, 405);
    for method in ["PUT", "OPTIONS", "DELETE", "BREW"] {
        let answer = server.exchange(format!("{method} /webhooks/demo HTTP/1.0\r\n\r\n")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
}

#[tokio::test]
async fn a_key_is_asked_for_before_the_body_is_looked_at() {
    let server = Server::start(&[("SOURCE_SHOP_ACCESS_KEY", "old-key new-key"), ("MAX_BODY_BYTES", "10")]);
    let head = "POST /webhooks/shop?type=%0A HTTP/1.1\r\ncontent-length: 999\r\nexpect: 100-continue\r\n\r\n";
    assert_snapshot!(server.exchange(head).await.text(), @r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/problem+json
        www-authenticate: Bearer
        connection: close
        content-length: 104

        {"detail":"the access key is missing or wrong","status":401,"title":"Unauthorized","type":"about:blank"}
        "#);
    assert_eq!(server.post("/webhooks/shop?key=wrong", "x").await.status, 401);
    assert_eq!(server.post("/webhooks/shop?key=old-key", "x").await.status, 200);
    assert_eq!(server.exchange(post("/webhooks/shop", "Authorization: Bearer new-key\r\n", "x")).await.status, 200);
    let keys = [server.queue.events()[0].clone(), server.queue.events()[1].clone()];
    assert!(keys.iter().all(|event| event.verified.as_str() == "key" && !format!("{:?}", event.http).contains("key")));
}

#[tokio::test]
async fn an_address_is_checked_before_a_key() {
    let server = Server::start(&[
        ("SOURCE_NEAR_ALLOW_IPS", "127.0.0.0/8"),
        ("SOURCE_FAR_ALLOW_IPS", "192.0.2.0/24"),
        ("SOURCE_FAR_ACCESS_KEY", "k"),
        ("SOURCE_LAX_ALLOW_IPS", "192.0.2.0/24"),
        ("SOURCE_LAX_ALLOW_IPS_MODE", "warn"),
        ("SOURCE_LAX_OPEN", "yes"),
    ]);
    assert_snapshot!(server.post("/webhooks/far", "x").await.text(), @r#"
        HTTP/1.1 403 Forbidden
        content-type: application/problem+json
        connection: close
        content-length: 93

        {"detail":"the address is not allowed","status":403,"title":"Forbidden","type":"about:blank"}
        "#);
    let forged = post("/webhooks/far?key=k", "x-forwarded-for: 192.0.2.1\r\n", "x");
    assert_eq!(server.exchange(forged).await.status, 403);
    assert_eq!(server.post("/webhooks/near", "x").await.status, 200);
    assert_eq!(server.post("/webhooks/lax", "x").await.status, 200);
    let verified: Vec<&str> = server.queue.events().iter().map(|event| event.verified.as_str()).collect();
    assert_eq!(verified, ["address", "none"]);
}

#[tokio::test]
async fn a_trusted_proxy_says_who_calls() {
    let server = Server::start(&[("TRUSTED_PROXIES", "127.0.0.1"), ("SOURCE_FAR_ALLOW_IPS", "192.0.2.0/24")]);
    let from = |clients: &str| post("/webhooks/far", &format!("x-forwarded-for: {clients}\r\n"), "x");
    assert_eq!(server.exchange(from("192.0.2.1, 198.51.100.1")).await.status, 403);
    assert_eq!(server.exchange(from("198.51.100.1, 192.0.2.1")).await.status, 200);
    assert_eq!(server.queue.events()[0].http.client.as_deref(), Some("192.0.2.1"));
}

#[tokio::test]
async fn a_long_target_is_414() {
    let server = Server::open(&[]);
    let with_query = |bytes: usize| "/webhooks/demo?".to_owned() + &"x".repeat(bytes - "/webhooks/demo?".len());
    assert_eq!(server.post(&with_query(8 * 1024), "x").await.status, 200);
    assert_snapshot!(server.post(&with_query(9 * 1024), "x").await.text(), @r#"
        HTTP/1.1 414 URI Too Long
        content-type: application/problem+json
        connection: close
        content-length: 114

        {"detail":"the request target is longer than 8192 bytes","status":414,"title":"URI Too Long","type":"about:blank"}
        "#);
    assert_eq!(server.post(&with_query(60 * 1024), "x").await.status, 414);
}

#[tokio::test]
async fn too_many_headers_are_431() {
    let server = Server::open(&[]);
    let lines = |count: usize, bytes: usize| format!("x: {}\r\n", "y".repeat(bytes)).repeat(count);
    // `host` and `content-length` are two more.
    assert_eq!(server.exchange(post("/webhooks/demo", &lines(98, 1), "x")).await.status, 200);
    assert_eq!(server.exchange(post("/webhooks/demo", &lines(99, 1), "x")).await.status, 431);
    assert_eq!(server.exchange(post("/webhooks/demo", &lines(31, 1024), "x")).await.status, 200);
    assert_snapshot!(server.exchange(post("/webhooks/demo", &lines(1, 40 * 1024), "x")).await.text(), @r#"
        HTTP/1.1 431 Request Header Fields Too Large
        content-type: application/problem+json
        connection: close
        content-length: 149

        {"detail":"the request has more than 100 headers or 32768 bytes of them","status":431,"title":"Request Header Fields Too Large","type":"about:blank"}
        "#);
    assert_eq!(server.exchange(post("/webhooks/demo", &lines(1, 400 * 1024), "x")).await.status, 431);
    assert_eq!(server.post("/webhooks/demo", "x").await.status, 200);
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_400() {
    let server = Server::open(&[]);
    for bytes in [
        "nonsense\r\n\r\n",
        "POST /webhooks/demo HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        "POST /webhooks/demo HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST /webhooks/demo HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /webhooks/demo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /webhooks/demo HTTP/1.1\r\nbad header: x\r\n\r\n",
        "POST /webhooks/demo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nmany\r\n",
        "POST /webhooks/demo?type=a%0Ab HTTP/1.1\r\ncontent-length: 1\r\n\r\nx",
        "POST /webhooks/demo?tenant=a%0Ab HTTP/1.1\r\ncontent-length: 1\r\n\r\nx",
    ] {
        assert_eq!(server.exchange(bytes).await.status, 400, "{bytes}");
    }
    assert_eq!(server.post(&format!("/webhooks/demo/{}", "x".repeat(200)), "x").await.status, 200);
    assert_snapshot!(server.post(&format!("/webhooks/demo/{}", "x".repeat(201)), "x").await.text(), @r#"
        HTTP/1.1 400 Bad Request
        content-type: application/problem+json
        content-length: 128

        {"detail":"the type of the event is too long or has control characters","status":400,"title":"Bad Request","type":"about:blank"}
        "#);
    assert_eq!(server.queue.events().len(), 1);
}

#[tokio::test]
async fn a_failure_of_the_queue_is_503_and_says_nothing_about_it() {
    let server = Server::open(&[]);
    let failures: [fn() -> PublishError; 5] = [
        || PublishError::Unreachable("mq.internal:5672 refused".into()),
        || PublishError::TimedOut,
        || PublishError::Refused("queue mq.internal is full".to_owned()),
        || PublishError::Unroutable("no queue at mq.internal".to_owned()),
        || PublishError::Blocked("mq.internal is low on memory".to_owned()),
    ];
    for failure in failures {
        server.queue.fail_with(failure);
        let answer = server.post("/webhooks/demo", "x").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert!(!answer.body.contains("internal"), "{}", answer.body);
    }
    assert_snapshot!(server.post("/webhooks/demo", "x").await.text(), @r#"
        HTTP/1.1 503 Service Unavailable
        content-type: application/problem+json
        retry-after: 1
        content-length: 131

        {"detail":"the queue has not confirmed the webhook; send it again","status":503,"title":"Service Unavailable","type":"about:blank"}
        "#);
}

#[tokio::test]
async fn a_queue_that_stalls_is_503_in_time() {
    let server = Server::open(&[("PUBLISH_TIMEOUT", "300ms")]);
    server.queue.stall();
    let before = Instant::now();
    assert_eq!(server.post("/webhooks/demo", "x").await.status, 503);
    assert!((Duration::from_millis(290)..Duration::from_millis(600)).contains(&before.elapsed()));
}

#[tokio::test]
async fn a_body_that_the_queue_cannot_carry_is_413() {
    let server = Server::open(&[]);
    server.queue.set_max_body_bytes(3);
    assert_eq!(server.post("/webhooks/demo", "four").await.status, 413);
    assert_eq!(server.queue.started(), 0);
    server.queue.fail_with(|| PublishError::TooLarge { limit: 2 });
    assert_snapshot!(server.post("/webhooks/demo", "abc").await.text(), @r#"
        HTTP/1.1 413 Payload Too Large
        content-type: application/problem+json
        content-length: 106

        {"detail":"the body is longer than 2 bytes","status":413,"title":"Payload Too Large","type":"about:blank"}
        "#);
}

#[tokio::test]
async fn a_panic_is_503() {
    let server = Server::open(&[]);
    server.queue.fail_with(|| panic!("a defect"));
    let answer = server.post("/webhooks/demo", "x").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.body.contains("the forwarder failed"), "{}", answer.body);
}
