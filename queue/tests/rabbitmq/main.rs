//! What is particular to RabbitMQ: the wire as others see it, TLS, the topology, and the proof of one publish among
//! many.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod attribution;
mod connecting;
mod definitions;
mod log;
mod losing;
mod permissions;
mod tls;
mod topology;
mod wire;

use std::time::Duration;

use tokio::time::Instant;
use webhook_queue::{Delivery, QueueConfig, QueueUrl, Received, Subscribe, Subscriber};

fn config(url: &str) -> QueueConfig {
    QueueConfig::new(QueueUrl::parse(url).unwrap())
}

/// Long enough for a busy machine, short enough to fail a hanging test.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn next(subscriber: &mut Subscriber) -> Delivery {
    match tokio::time::timeout_at(soon(), subscriber.next()).await.expect("no delivery came") {
        Received::Delivery(delivery) => delivery,
        Received::Suspects => panic!("nothing has crashed here"),
    }
}
