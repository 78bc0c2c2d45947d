//! The core in a host of somebody else's.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use webhook_forwarder::{Arrival, Env, Forwarder, ForwarderConfig};

use crate::support::Queue;

#[tokio::test]
async fn a_host_may_know_the_caller_or_not() {
    let env = Env::from_pairs([("SOURCE_DEMO_OPEN", "yes"), ("SOURCE_NEAR_ALLOW_IPS", "192.0.2.1")]);
    let config = ForwarderConfig::with_env(env).unwrap();
    let queue = Queue::new();
    let forwarder = Forwarder::new(&config, queue.clone());

    let status = async |request: Request<Full<bytes::Bytes>>| {
        let answer = forwarder.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        answer.into_body().collect().await.unwrap();
        status
    };
    let post = |path: &str| Request::post(path).body(Full::from("x")).unwrap();
    assert_eq!(status(post("/webhooks/demo")).await, StatusCode::OK);
    assert_eq!(status(post("/webhooks/near")).await, StatusCode::FORBIDDEN);
    let mut known = post("/webhooks/near");
    known.extensions_mut().insert(Arrival::now(Some("192.0.2.1".parse().unwrap())));
    assert_eq!(status(known).await, StatusCode::OK);
    let clients: Vec<_> = queue.events().into_iter().map(|event| event.http.client).collect();
    assert_eq!(clients, [None, Some("192.0.2.1".to_owned())]);
    forwarder.close().await;
    assert!(queue.is_closed());
}

#[tokio::test]
async fn what_the_host_has_done_with_a_whole_request_is_part_of_the_timeout() {
    let env = Env::from_pairs([("SOURCE_DEMO_OPEN", "yes"), ("PUBLISH_TIMEOUT", "10s"), ("READ_TIMEOUT", "1h")]);
    let queue = Queue::new();
    queue.stall();
    let forwarder = Forwarder::new(&ForwarderConfig::with_env(env).unwrap(), queue);
    let mut late = Request::post("/webhooks/demo").body(Full::from("x")).unwrap();
    let began = Instant::now() - Duration::from_secs(10);
    late.extensions_mut().insert(Arrival { began, whole: true, ..Arrival::now(None) });
    let answer = timeout(Duration::from_secs(5), forwarder.oneshot(late)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}
