//! Webhooks through the program into RabbitMQ's management API, by the guide's two settings.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testbed::{Broker, Proxy, Version, Vhost};

use crate::process::{Forwarder, exchange, post, run, status};

const QUEUE: &str = "e-conomic-webhooks";

/// `AmqpEndpoint` and `AmqpAuthHeader`, as the guide has its readers make them.
fn guide(publish_url: &str) -> (String, String) {
    let (login, rest) = publish_url.strip_prefix("http://").unwrap().split_once('@').unwrap();
    (format!("http://{rest}"), STANDARD.encode(login))
}

fn start(publish_url: &str) -> Forwarder {
    let (endpoint, header) = guide(publish_url);
    let variables =
        [("QUEUE_URL", ""), ("AmqpEndpoint", &*endpoint), ("AmqpAuthHeader", &*header), ("RUST_LOG", "info")];
    Forwarder::start(&variables)
}

async fn set_up() -> Vhost {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    let (endpoint, header) = guide(&vhost.publish_url());
    for command in ["setup", "check"] {
        let ran = run(&[command], &[("AmqpEndpoint", &endpoint), ("AmqpAuthHeader", &header)]);
        assert!(ran.status.success() && ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    vhost
}

fn webhook(forwarder: &Forwarder) -> u16 {
    status(&exchange(forwarder.connect(), &post("/webhooks/demo/order-paid", b"", b"\x00\xff")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_webhook_is_on_the_queue_and_what_is_not_is_503() {
    let vhost = set_up().await;
    let mut forwarder = start(&vhost.publish_url());
    assert_eq!(webhook(&forwarder), 200);
    let message = vhost.get(QUEUE).await.unwrap();
    assert_eq!((&message["payload"], &message["properties"]["type"]), (&"AP8=".into(), &"order-paid".into()));

    vhost.unbind("e-conomic.direct", QUEUE, "webhook").await;
    assert_eq!(webhook(&forwarder), 503);
    forwarder.wait_for_line("`webhook-forwarder setup`");
    vhost.declare_queue("full", json!({"x-max-length": 0, "x-overflow": "reject-publish"})).await;
    vhost.bind("e-conomic.direct", "full", "webhook").await;
    assert_eq!(webhook(&forwarder), 503);
    forwarder.wait_for_line("is the queue full?");
    assert!(vhost.get(QUEUE).await.is_none());

    forwarder.signal("TERM");
    let (code, log) = forwarder.wait();
    assert_eq!(code, Some(0));
    let (_, header) = guide(&vhost.publish_url());
    let login = String::from_utf8(STANDARD.decode(&header).unwrap()).unwrap();
    assert!(!log.contains(login.split_once(':').unwrap().1) && !log.contains(&header), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_password_is_503_and_the_log_says_so() {
    let vhost = set_up().await;
    let url = vhost.publish_url();
    let mut forwarder = start(&format!("http://nobody:s3cret@{}", url.split_once('@').unwrap().1));
    assert_eq!(webhook(&forwarder), 503);
    let line = forwarder.wait_for_line("refuses the user or password");
    assert!(!line.contains("s3cret"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stalled_broker_is_503_within_the_deadline() {
    let vhost = set_up().await;
    let proxy = Proxy::start(Broker::shared(Version::V3).await.management_addr()).await;
    let forwarder = start(&vhost.publish_url_via(proxy.addr()));
    assert_eq!(webhook(&forwarder), 200);
    proxy.stall();
    let (forwarder, took) = tokio::task::spawn_blocking(|| {
        let start = Instant::now();
        assert_eq!(webhook(&forwarder), 503);
        (forwarder, start.elapsed())
    })
    .await
    .unwrap();
    assert!(took < Duration::from_millis(2900), "{took:?}");
    proxy.heal();
    assert_eq!(webhook(&forwarder), 200);
}
