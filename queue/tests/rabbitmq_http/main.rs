//! What is particular to publishing through RabbitMQ's management API: what each answer means, connections that break,
//! the guide's own configuration, alarms.
#![cfg(all(feature = "rabbitmq", feature = "rabbitmq_http"))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod alarms;
mod answers;
mod connections;
mod guide;
#[path = "../rabbitmq/log.rs"]
mod log;
mod server;
mod tls;
mod topology;
mod wire;

use std::time::Duration;

use tokio::time::Instant;
use webhook_queue::{
    Delivery, Event, Publish, PublishError, Publisher, QueueConfig, QueueUrl, Received, Subscribe, Subscriber,
};

fn config(url: &str) -> QueueConfig {
    QueueConfig::new(QueueUrl::parse(url).unwrap())
}

/// Long enough for a busy machine, short enough to fail a hanging test.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn event(body: &str) -> Event {
    Event::new("e-conomic", "product-updated", body.to_owned())
}

/// The outcome of one publish there.
async fn publish(url: &str, event: &Event) -> Result<(), PublishError> {
    let publisher = Publisher::open(&config(url)).unwrap();
    let outcome = publisher.publish(event, soon()).await;
    publisher.close().await;
    outcome
}

async fn next(subscriber: &mut Subscriber) -> Delivery {
    match tokio::time::timeout_at(soon(), subscriber.next()).await.expect("no delivery came") {
        Received::Delivery(delivery) => delivery,
        Received::Suspects => panic!("nothing has crashed here"),
    }
}
