//! Forwarder and consumer against bare lapin, on one broker on the same machine.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot run says why")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bench::{BODY_BYTES, Figures, ROUNDS, forwarder, per_second, webhooks_per_second};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use testbed::{Broker, Version, Vhost};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use webhook_consumer::{Consumer, Router, State};
use webhook_queue::{Event, QueueConfig, QueueUrl, setup};

const WEBHOOKS: usize = 10_000;
const EVENTS: usize = 20_000;
const PREFETCH: u16 = 200;
const QUEUE: &str = "e-conomic-webhooks";

#[tokio::main]
async fn main() {
    let broker = Broker::start(Version::V3).await;
    let vhost = broker.vhost().await;
    let queue = QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap());
    setup(&queue).await.unwrap();
    let address = forwarder(&queue).await;
    webhooks_per_second(address, 64, 1000).await;

    let mut figures = Figures::default();
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        for at_once in [64, 256] {
            figures.note(&format!("bare lapin, {at_once} in flight"), publish_bare(&vhost, at_once).await);
            purge(&vhost).await;
            let rate = webhooks_per_second(address, at_once, WEBHOOKS).await;
            figures.note(&format!("forwarder, {at_once} connections"), rate);
            purge(&vhost).await;
        }
        publish(&vhost, EVENTS, 256).await;
        figures.note("bare lapin, consume and ack", consume_bare(&vhost).await);
        publish(&vhost, EVENTS, 256).await;
        figures.note("consumer", consume(&queue).await);
    }
    figures.print();
    figures.ratio("forwarder, 64 connections", "bare lapin, 64 in flight", "at least 0.8");
    figures.ratio("forwarder, 256 connections", "bare lapin, 256 in flight", "at least 0.8");
    figures.ratio("consumer", "bare lapin, consume and ack", "at least 2.0");
}

async fn connect(vhost: &Vhost) -> (Connection, Channel) {
    let connection = Connection::connect(&vhost.amqp_url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn purge(vhost: &Vhost) {
    let (_connection, channel) = connect(vhost).await;
    channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await.unwrap();
}

/// All tasks share one channel: as fast as lapin goes, and nobody can say whose confirm is whose.
async fn publish_bare(vhost: &Vhost, at_once: usize) -> f64 {
    publish(vhost, WEBHOOKS, at_once).await
}

async fn publish(vhost: &Vhost, messages: usize, at_once: usize) -> f64 {
    let (_connection, channel) = connect(vhost).await;
    let properties = properties();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let left = Arc::new(AtomicUsize::new(messages));
    let mut publishers = JoinSet::new();
    let began = Instant::now();
    for _ in 0..at_once {
        let (channel, left, properties) = (channel.clone(), Arc::clone(&left), properties.clone());
        publishers.spawn(async move {
            let body = [b'x'; BODY_BYTES];
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let confirm = channel.basic_publish(
                    "e-conomic.direct".into(),
                    "webhook".into(),
                    options,
                    &body,
                    properties.clone(),
                );
                assert!(matches!(confirm.await.unwrap().await.unwrap(), Confirmation::Ack(None)));
            }
        });
    }
    publishers.join_all().await;
    per_second(messages, began.elapsed())
}

/// The same message that the forwarder makes of a webhook.
fn properties() -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in Event::new("shop", "webhook", "").attributes() {
        headers.insert(format!("cloudEvents:{name}").as_str().into(), AMQPValue::LongString(value.into_owned().into()));
    }
    BasicProperties::default()
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_message_id("01a2020d-5bbc-71eb-b5a5-171a4454889c".into())
        .with_type("webhook".into())
        .with_timestamp(1_770_087_906)
        .with_app_id("webhook-forwarder".into())
}

/// Each message acked as it comes, as most programs do.
async fn consume_bare(vhost: &Vhost) -> f64 {
    let (_connection, channel) = connect(vhost).await;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.unwrap();
    let began = Instant::now();
    let mut consumer = channel
        .basic_consume(QUEUE.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .unwrap();
    for _ in 0..EVENTS {
        consumer.next().await.unwrap().unwrap().ack(BasicAckOptions::default()).await.unwrap();
    }
    per_second(EVENTS, began.elapsed())
}

async fn consume(queue: &QueueConfig) -> f64 {
    let handled = Arc::new((AtomicUsize::new(0), Notify::new()));
    let router = Router::new().on("*/*", count).with_state(Arc::clone(&handled));
    let began = Instant::now();
    let (handle, task) = Consumer::new(queue.clone()).prefetch(PREFETCH).start(router).unwrap();
    handled.1.notified().await;
    let rate = per_second(EVENTS, began.elapsed());
    handle.drain();
    task.await.unwrap();
    rate
}

async fn count(State(handled): State<Arc<(AtomicUsize, Notify)>>) {
    if handled.0.fetch_add(1, Ordering::Relaxed) + 1 == EVENTS {
        handled.1.notify_one();
    }
}
