//! SQS: what is published lies there as it was, what is received is kept and let go of as SQS wants it, and every failure
//! is told for what it is. Against moto, an emulator, and our own stand-in.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod admin;
mod attempts;
#[cfg(feature = "aws_config")]
mod credentials;
mod faults;
#[path = "../contract/full.rs"]
mod full;
mod leases;
mod order;
mod sends;
mod suspects;
mod wire;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use webhook_queue::{
    AwsCredentials, Delivery, Event, Publish, Publisher, QueueConfig, QueueUrl, Received, Subscribe, Subscriber,
};

fn config(url: &str) -> QueueConfig {
    let mut config = QueueConfig::new(QueueUrl::parse(url).unwrap());
    config.aws_credentials = Some(AwsCredentials::Keys {
        access_key_id: "test".to_owned(),
        secret_access_key: "test".to_owned().into(),
        session_token: Some("test".to_owned().into()),
    });
    config
}

fn publisher(url: &str) -> Publisher {
    Publisher::open(&config(url)).unwrap()
}

fn subscriber(url: &str) -> Subscriber {
    Subscriber::open(&config(url), 10).unwrap()
}

/// Publishes one event for each body, all of one tenant.
async fn publish(url: &str, bodies: &[&str]) {
    let publisher = publisher(url);
    for body in bodies {
        let mut event = Event::new("shop", "order", (*body).to_owned());
        event.tenant = Some("123456".to_owned());
        publisher.publish(&event, soon()).await.unwrap();
    }
}

/// The next ordinary delivery.
async fn receive(subscriber: &mut Subscriber) -> Delivery {
    match timeout_at(soon(), subscriber.next()).await.expect("nothing came") {
        Received::Delivery(delivery) => delivery,
        Received::Suspects => panic!("suspects, and nobody died"),
    }
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.event().body.to_vec()).unwrap()
}

/// Long enough for a busy machine, short enough to fail a hanging test.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}
