//! What becomes of a request on its way into an event.

use std::time::SystemTime;

use webhook_queue::IdOrigin;

use crate::support::{Server, post};

#[tokio::test]
async fn an_event_holds_the_request_as_it_was() {
    let server = Server::open(&[("SOURCE_E_CONOMIC_OPEN", "yes")]);
    let before = SystemTime::now();
    let headers = "Content-Type: application/json\r\nX-Twice: one\r\nX-Latin: sm\u{f8}r\r\nX-Twice:  two \r\nTraceParent: 00-a-b-01\r\nTraceState: x=1\r\n";
    let mut request = post(
        "/api/webhooks/e-conomic/product%2Fupdated?a=%2B&b=+&&c&tenant=123%204",
        &headers.replace("Latin: smør", "Latin: sm?r"),
        "newnumber=33&oldnumber=33",
    );
    let latin = request.windows(4).position(|window| window == b"sm?r").unwrap();
    request[latin + 2] = 0xf8;
    let answer = server.exchange(request).await;

    let event = server.queue.events().remove(0);
    assert_eq!(answer.body, format!(r#"{{"id":"{}"}}"#, event.id));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!((event.source.as_str(), event.event_type.as_str()), ("e-conomic", "product/updated"));
    assert_eq!((event.tenant.as_deref(), event.verified.as_str()), (Some("123 4"), "none"));
    assert_eq!((event.id_origin, event.id.len()), (IdOrigin::Forwarder, 36));
    assert!(event.received >= before && event.time == event.received);
    assert_eq!(event.body, "newnumber=33&oldnumber=33");
    assert_eq!((event.http.method.as_str(), event.http.client.as_deref()), ("POST", Some("127.0.0.1")));
    assert_eq!(event.http.path, "/webhooks/e-conomic/product%2Fupdated");
    assert_eq!(event.http.query, "a=%2B&b=+&&c&tenant=123%204");
    assert_eq!(event.traceparent.as_deref(), Some("00-a-b-01"));
    assert_eq!(event.tracestate.as_deref(), Some("x=1"));
    let expected = [
        ("host", "test"),
        ("content-type", "application/json"),
        ("x-twice", "one"),
        ("x-twice", "two"),
        ("x-latin", "smør"),
        ("traceparent", "00-a-b-01"),
        ("tracestate", "x=1"),
        ("content-length", "25"),
    ];
    assert_eq!(event.http.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn utf8_stays_utf8() {
    let server = Server::open(&[]);
    server.exchange(post("/webhooks/demo", "x-name: smørrebrød\r\n", "x")).await;
    assert_eq!(server.queue.events()[0].header("x-name"), Some("smørrebrød"));
}

#[tokio::test]
async fn secrets_are_not_stored() {
    let server = Server::open(&[("SOURCE_SHOP_ACCESS_KEY", "s3cret")]);
    let headers = "Authorization: Bearer s3cret\r\nCookie: s=s3cret\r\nX-Webhook-Key: s3cret\r\n\
                   X-Functions-Key: s3cret\r\nX-Other: kept\r\n";
    for path in ["/webhooks/shop", "/webhooks/demo"] {
        let target = format!("{path}?a=%2B&key=s3cret&b=+&Code=s3cret&&c");
        assert_eq!(server.exchange(post(&target, headers, "x")).await.status, 200);
    }
    for event in server.queue.events() {
        assert_eq!(event.http.query, "a=%2B&b=+&&c");
        assert_eq!(event.header("x-other"), Some("kept"));
        assert!(!format!("{:?}", event.http).contains("s3cret"));
    }
}

#[tokio::test]
async fn the_type_comes_from_the_path_else_the_query_else_is_webhook() {
    let server = Server::open(&[("SOURCE_DEMO_PATH", "/api/WebhookForwarder")]);
    for target in [
        "/webhooks/demo/a?type=b",
        "/webhooks/demo?type=b+c",
        "/webhooks/demo",
        "/webhooks/demo/",
        "/api/WebhookForwarder?type=d",
    ] {
        assert_eq!(server.post(target, "x").await.status, 200);
    }
    let types: Vec<String> = server.queue.events().into_iter().map(|event| event.event_type).collect();
    assert_eq!(types, ["a", "b c", "webhook", "webhook", "d"]);
    assert_eq!(server.queue.events()[4].http.path, "/WebhookForwarder");
}
