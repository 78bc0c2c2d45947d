//! A private broker to try things by hand: `cargo run -p testbed` (`-- 4` for RabbitMQ 4.x). It is gone, with all that
//! is in it, when this program ends.
#![expect(clippy::print_stdout, reason = "what it prints is its use")]

use testbed::{Broker, Version};

#[tokio::main]
async fn main() {
    let version = if std::env::args().nth(1).as_deref() == Some("4") { Version::V4 } else { Version::V3 };
    let broker = Broker::start(version).await;
    let vhost = broker.vhost().await;
    println!("QUEUE_URL={}", vhost.amqp_url());
    println!("or QUEUE_URL={} QUEUE_CA_FILE={}", vhost.amqps_url(), broker.ca_file().display());
    println!("or QUEUE_URL={}", vhost.publish_url());
    println!("QUEUE_MANAGEMENT_URL={}", vhost.management_url());
    std::future::pending::<()>().await;
}
