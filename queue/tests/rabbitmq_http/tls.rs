//! TLS: a private authority is trusted, an unknown one is not.

use testbed::{Broker, Version};
use webhook_queue::{Publish, PublishError, Publisher, setup};

use super::{config, event, publish, soon};

#[tokio::test(flavor = "multi_thread")]
async fn events_travel_under_a_private_authority() {
    let broker = Broker::shared(Version::V3).await;
    let vhost = broker.vhost().await;
    let mut config = config(&vhost.publish_url_with_tls());
    config.ca_file = Some(broker.ca_file().to_owned());
    setup(&config).await.unwrap();
    let publisher = Publisher::open(&config).unwrap();
    publisher.publish(&event(&"x".repeat(1 << 20)), soon()).await.unwrap();
    assert_eq!(vhost.get("e-conomic-webhooks").await.unwrap()["payload_bytes"], 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_refused() {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    let outcome = publish(&vhost.publish_url_with_tls(), &event("1")).await;
    match outcome {
        Err(error @ PublishError::Unreachable(_)) => {
            assert!(webhook_queue::chain(&error).contains("UnknownIssuer"), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_file_on_a_plaintext_address_is_an_error() {
    let mut config = config("http://u:p@127.0.0.1:1/api/exchanges/v/e/publish");
    config.ca_file = Some("/nowhere".into());
    let error = Publisher::open(&config).unwrap_err().to_string();
    assert!(error.contains("QUEUE_CA_FILE: has no effect on an http:// address"), "{error}");
}
