//! TLS: a private authority is trusted, an unknown one is not, and nothing is ever sent in the clear.

use std::path::PathBuf;

use testbed::{Broker, Version, in_time};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use webhook_queue::{Event, Publish, Publisher, Received, Subscribe, Subscriber, check, setup};

use super::{config, next, soon};

#[tokio::test(flavor = "multi_thread")]
async fn events_travel_under_a_private_authority() {
    let broker = Broker::shared(Version::V3).await;
    let vhost = broker.vhost().await;
    let mut config = config(&vhost.amqps_url());
    config.ca_file = Some(broker.ca_file().to_owned());
    setup(&config).await.unwrap();
    let event = Event::new("shop", "order", vec![7; 1 << 20]);
    let publisher = Publisher::open(&config).unwrap();
    publisher.publish(&event, soon()).await.unwrap();
    let mut subscriber = Subscriber::open(&config, 1).unwrap();
    assert_eq!(next(&mut subscriber).await.event(), &event);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_refused() {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    let error = setup(&config(&vhost.amqps_url())).await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer") || error.contains("certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plaintext_port_is_refused_and_the_message_says_so() {
    let broker = Broker::shared(Version::V3).await;
    let vhost = broker.vhost().await;
    let url = vhost.amqp_url().replacen("amqp://", "amqps://", 1);
    let error = setup(&config(&url)).await.unwrap_err().to_string();
    assert!(error.contains("is it an amqp:// port?"), "{error}");
    let report = check(&config(&url)).await;
    assert!(!report.passed(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_sent_before_tls_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqps://user:s3cret@127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let publisher = Publisher::open(&config(&url)).unwrap();
    let (mut stream, _) = in_time("it connects", listener.accept()).await.unwrap();
    let mut first = [0; 3];
    in_time("it says something", stream.read_exact(&mut first)).await.unwrap();
    // The record header of a TLS handshake, and not the "AMQ" of a plaintext one.
    assert_eq!((first[0], first[1]), (22, 3));
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_handshake_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqps://user:s3cret@127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let error = setup(&config(&url)).await.unwrap_err().to_string();
    assert!(error.contains("no connection to 127.0.0.1") && !error.contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_file_on_a_plaintext_address_is_an_error() {
    let mut config = config("amqp://127.0.0.1:1");
    config.ca_file = Some(PathBuf::from("/nowhere"));
    let error = Publisher::open(&config).unwrap_err().to_string();
    assert!(error.contains("QUEUE_CA_FILE: has no effect"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_apart_and_never_shown() {
    let broker = Broker::shared(Version::V3).await;
    let url = format!("amqp://nobody:s3cret@{}/", broker.amqp_addr());
    let error = setup(&config(&url)).await.unwrap_err().to_string();
    assert!(error.contains("refuses the connection: ACCESS_REFUSED") && !error.contains("s3cret"), "{error}");
    // A subscriber with it waits, and says nothing of it either.
    let mut subscriber = Subscriber::open(&config(&url), 1).unwrap();
    let wait = tokio::time::timeout(std::time::Duration::from_millis(300), subscriber.next()).await;
    assert!(!matches!(wait, Ok(Received::Delivery(_))));
}
