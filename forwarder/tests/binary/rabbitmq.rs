//! Webhooks through the program into RabbitMQ.

use testbed::{Broker, Proxy, Version};

use crate::process::{Forwarder, MAX_IN_FLIGHT_BYTES, connect, exchange, post, run, status};
use crate::serving::flood_with_large_bodies;

const QUEUE: &str = "e-conomic-webhooks";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_missing_queue_is_503_until_setup_has_declared_it() {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    let url = vhost.amqp_url();
    let variables = [("QUEUE_URL", &*url), ("SOURCE_SHOP_ACCESS_KEY", "k3y-k3y"), ("RUST_LOG", "info")];
    let mut forwarder = Forwarder::start(&variables);
    let request =
        post("/webhooks/shop/order-paid?key=k3y-k3y&a=%2B", b"Authorization: Bearer k3y-k3y\r\n", b"\x00\xff");
    let ready = b"GET /readyz HTTP/1.1\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&exchange(forwarder.connect(), &request)), 503);
    let line = forwarder.wait_for_line("`webhook-forwarder setup`");
    assert!(line.contains("ERROR") && line.contains("shop"), "{line}");
    assert_eq!(status(&exchange(forwarder.connect(), ready)), 503);

    assert_eq!(run(&["check"], &[("QUEUE_URL", &url)]).status.code(), Some(1));
    let setup = run(&["setup"], &[("QUEUE_URL", &url)]);
    assert!(setup.status.success() && setup.stderr.is_empty(), "{}", String::from_utf8_lossy(&setup.stderr));
    let check = run(&["check"], &[("QUEUE_URL", &url)]);
    assert!(check.status.success() && check.stderr.is_empty(), "{}", String::from_utf8_lossy(&check.stderr));

    let answer = exchange(forwarder.connect(), &request);
    assert_eq!(status(&answer), 200);
    assert_eq!(status(&exchange(forwarder.connect(), ready)), 200);
    let message = vhost.get(QUEUE).await.unwrap();
    let headers = &message["properties"]["headers"];
    assert!(answer.contains(message["properties"]["message_id"].as_str().unwrap()));
    assert_eq!((&headers["cloudEvents:source"], &headers["cloudEvents:type"]), (&"shop".into(), &"order-paid".into()));
    assert_eq!((&headers["cloudEvents:httpquery"], &headers["cloudEvents:verified"]), (&"a=%2B".into(), &"key".into()));
    assert_eq!(message["payload"], "AP8=");
    assert!(!message.to_string().contains("k3y"), "{message}");

    forwarder.signal("TERM");
    let (code, log) = forwarder.wait();
    assert_eq!(code, Some(0));
    let (_, farewell) = log.split_once("stopping").unwrap();
    assert!(!farewell.contains("ERROR") && !farewell.contains("WARN"), "{farewell}");
    assert!(!log.contains("k3y") && !log.contains(&url), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_is_bounded_while_the_broker_is_a_black_hole() {
    let broker = Broker::shared(Version::V3).await;
    let vhost = broker.vhost().await;
    assert!(run(&["setup"], &[("QUEUE_URL", &vhost.amqp_url())]).status.success());
    let proxy = Proxy::start(broker.amqp_addr()).await;
    let forwarder = Forwarder::start(&[("QUEUE_URL", &vhost.amqp_url_via(proxy.addr()))]);
    let small = post("/webhooks/demo", b"", b"x");
    assert_eq!(status(&exchange(connect(forwarder.address), &small)), 200);

    proxy.stall();
    let (forwarder, statuses) = tokio::task::spawn_blocking(|| {
        let statuses = flood_with_large_bodies(&forwarder, 256);
        (forwarder, statuses)
    })
    .await
    .unwrap();
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    forwarder.assert_memory_is_bounded(MAX_IN_FLIGHT_BYTES);
}
