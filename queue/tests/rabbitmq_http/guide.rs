//! The guide's own two settings, for both halves.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use testbed::{Broker, Proxy, Version};
use webhook_queue::{Env, Publish, Publisher, QueueConfig, QueueUrl, Role, Subscriber, setup};

use super::{event, log, next, soon};

fn read(variables: &[(&str, String)], role: Role) -> QueueConfig {
    let mut env = Env::from_pairs(variables.iter().map(|(name, value)| (*name, value.clone())));
    let config = QueueConfig::from_env(&mut env, role);
    env.finish().unwrap();
    config
}

/// A consumer derives the address of the broker from that of its management API, with the default port: so this broker
/// stands behind an address of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_by_the_guides_settings_is_received_by_them() {
    let broker = Broker::shared(Version::V3).await;
    let vhost = broker.vhost_named("u&v /").await;
    let [_, a, b, _] = std::process::id().to_be_bytes();
    let host = format!("127.{}.{}.77", a.wrapping_add(99), b.wrapping_add(99));
    let _management = Proxy::start_at(format!("{host}:15672").parse().unwrap(), broker.management_addr()).await;
    let _amqp = Proxy::start_at(format!("{host}:5672").parse().unwrap(), broker.amqp_addr()).await;

    let url = vhost.publish_url();
    let (login, rest) = url.strip_prefix("http://").unwrap().split_once('@').unwrap();
    let (_, path) = rest.split_once('/').unwrap();
    let variables = [
        ("AmqpEndpoint", format!("http://{host}:15672/{path}")),
        ("AmqpAuthHeader", format!("Basic {}", STANDARD.encode(login))),
    ];
    let log = log::capture();
    let (forwarder, consumer) = (read(&variables, Role::Forwarder), read(&variables, Role::Consumer));
    assert!(matches!(forwarder.url, QueueUrl::RabbitMqHttp(_)));
    let password = login.split_once(':').unwrap().1;
    let derived = log.lines_with(&format!("reading from amqp://{host}/u%26v%20%2F"));
    assert_eq!(derived.len(), 1, "{derived:?}");
    assert!(log.lines_with(password).is_empty());

    setup(&forwarder).await.unwrap();
    let event = event("newnumber=33&oldnumber=33");
    Publisher::open(&forwarder).unwrap().publish(&event, soon()).await.unwrap();
    let mut subscriber = Subscriber::open(&consumer, 1).unwrap();
    assert_eq!(next(&mut subscriber).await.event().id, event.id);
}
