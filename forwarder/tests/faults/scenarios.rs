//! One test for each fault.

use std::time::Duration;

use serde_json::json;
use testbed::{Broker, Proxy, Version, Vhost, versions};
use webhook_queue::{QueueConfig, QueueUrl, setup};

use super::forwarder::Forwarder;
use super::found::Found;
use super::load::Burst;
use super::table::{Row, recovery};
use super::{EXCHANGE, FAULT, QUEUE, webhooks};

/// A broker, a forwarder behind a proxy, and the guide's topology between them.
struct Stage {
    vhost: Vhost,
    proxy: Proxy,
    forwarder: Forwarder,
}

impl Stage {
    async fn set(broker: &Broker) -> Stage {
        let vhost = broker.vhost().await;
        setup(&QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap())).await.unwrap();
        let proxy = Proxy::start(broker.amqp_addr()).await;
        let forwarder = Forwarder::start(&vhost.amqp_url_via(proxy.addr()), &[]).await;
        recovery(&forwarder).await;
        Stage { vhost, proxy, forwarder }
    }

    /// A burst in whose middle `fault` happens and is over when it returns.
    async fn row(self, fault: &'static str, during: impl AsyncFnOnce(&Stage, &Burst)) {
        let burst = Burst::start(self.forwarder.addr, 0..webhooks());
        burst.reached(webhooks() / 3).await;
        during(&self, &burst).await;
        let recovery = recovery(&self.forwarder).await;
        let sent = burst.finish().await;
        assert!(sent.iter().any(|sent| sent.status == Some(503)), "{fault}: nobody noticed it");
        let found = Found::on(&self.vhost).await;
        Row { fault, sent, found, recovery, brokers_own: false }.check();
    }
}

async fn pause() {
    tokio::time::sleep(FAULT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_killed() {
    for version in versions() {
        let broker = Broker::start(version).await;
        let stage = Stage::set(&broker).await;
        broker.let_definitions_settle().await;
        stage
            .row("broker killed and started again", async |stage, _| {
                // Whatever is in flight stays there until the broker is dead.
                stage.proxy.stall();
                broker.kill().await;
                stage.proxy.heal();
                broker.restart().await;
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_cut() {
    let stage = Stage::set(Broker::shared(Version::V3).await).await;
    stage
        .row("TCP cut", async |stage, _| {
            stage.proxy.cut();
            pause().await;
            stage.proxy.heal();
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_stalled() {
    let stage = Stage::set(Broker::shared(Version::V3).await).await;
    stage
        .row("TCP stalled", async |stage, _| {
            stage.proxy.stall();
            pause().await;
            stage.proxy.heal();
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchange_deleted() {
    let stage = Stage::set(Broker::shared(Version::V3).await).await;
    stage
        .row("exchange deleted and made again", async |stage, _| {
            stage.vhost.delete_exchange(EXCHANGE).await;
            pause().await;
            assert!(stage.forwarder.logged("webhook-forwarder setup"), "the log must name the command that mends it");
            stage.vhost.declare_exchange(EXCHANGE, "direct").await;
            stage.vhost.bind(EXCHANGE, QUEUE, "webhook").await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_removed() {
    let stage = Stage::set(Broker::shared(Version::V3).await).await;
    stage
        .row("binding removed and made again", async |stage, _| {
            stage.vhost.unbind(EXCHANGE, QUEUE, "webhook").await;
            pause().await;
            stage.vhost.bind(EXCHANGE, QUEUE, "webhook").await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_alarm() {
    for version in versions() {
        let broker = Broker::start(version).await;
        let stage = Stage::set(&broker).await;
        stage
            .row("memory alarm", async |_, burst| {
                burst.hold();
                broker.memory_alarm(true).await;
                burst.resume();
                pause().await;
                broker.memory_alarm(false).await;
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_full() {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    vhost.declare_exchange(EXCHANGE, "direct").await;
    let arguments = json!({"x-max-length": webhooks() / 2, "x-overflow": "reject-publish"});
    vhost.declare_queue(QUEUE, arguments).await;
    vhost.bind(EXCHANGE, QUEUE, "webhook").await;
    let forwarder = Forwarder::start(&vhost.amqp_url(), &[]).await;
    let sent = Burst::start(forwarder.addr, 0..webhooks()).finish().await;
    assert!(sent.iter().any(|sent| sent.status == Some(503)), "the queue did not fill up");
    let found = Found::on(&vhost).await;
    let recovery = recovery(&forwarder).await;
    Row { fault: "queue full with reject-publish", sent, found, recovery, brokers_own: false }.check();
}

/// Sending stops, all is answered, the queue is emptied and deleted, sending goes on while it is absent.
#[tokio::test(flavor = "multi_thread")]
async fn queue_deleted() {
    let stage = Stage::set(Broker::shared(Version::V3).await).await;
    let (half, all) = (webhooks() / 2, webhooks());
    let mut sent = Burst::start(stage.forwarder.addr, 0..half).finish().await;
    let mut found = Found::on(&stage.vhost).await;
    stage.vhost.delete_queue(QUEUE).await;
    let burst = Burst::start(stage.forwarder.addr, half..all);
    burst.reached(half + (all - half) / 2).await;
    burst.hold();
    stage.vhost.declare_queue(QUEUE, json!({"x-message-ttl": 604_800_000})).await;
    stage.vhost.bind(EXCHANGE, QUEUE, "webhook").await;
    let recovery = recovery(&stage.forwarder).await;
    burst.resume();
    sent.extend(burst.finish().await);
    assert!(sent.iter().any(|sent| sent.status == Some(503)), "the absence was not noticed");
    found.drain(&stage.vhost).await;
    Row { fault: "queue deleted and made again", sent, found, recovery, brokers_own: false }.check();
}

/// RabbitMQ confirms publishes in flight to a queue that is being deleted, and takes what was in it along.
#[tokio::test(flavor = "multi_thread")]
async fn queue_deleted_under_load() {
    let stage = Stage::set(Broker::shared(Version::V3).await).await;
    let burst = Burst::start(stage.forwarder.addr, 0..webhooks());
    burst.reached(webhooks() / 3).await;
    stage.vhost.delete_queue(QUEUE).await;
    pause().await;
    stage.vhost.declare_queue(QUEUE, json!({"x-message-ttl": 604_800_000})).await;
    stage.vhost.bind(EXCHANGE, QUEUE, "webhook").await;
    let recovery = recovery(&stage.forwarder).await;
    let sent = burst.finish().await;
    let found = Found::on(&stage.vhost).await;
    Row { fault: "queue deleted under load", sent, found, recovery, brokers_own: true }.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarder_terminated() {
    let mut stage = Stage::set(Broker::shared(Version::V3).await).await;
    let burst = Burst::start(stage.forwarder.addr, 0..webhooks());
    burst.reached(webhooks() / 3).await;
    stage.forwarder.terminate();
    assert_eq!(stage.forwarder.exit_code().await, Some(0));
    stage.forwarder = Forwarder::start(&stage.vhost.amqp_url(), &[]).await;
    let recovery = recovery(&stage.forwarder).await;
    let mut sent = burst.finish().await;
    // Nobody listened any more: the connection was refused, or closed before a request was read. A provider retries.
    sent.retain(|sent| sent.status.is_some());
    let found = Found::on(&stage.vhost).await;
    Row { fault: "forwarder terminated in a burst", sent, found, recovery, brokers_own: false }.check();
}

/// Memory stays within four times the budget while large bodies arrive faster than anybody takes them.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_while_the_broker_is_stalled() {
    const BUDGET: usize = 64 << 20;
    let stage = Stage::set(Broker::shared(Version::V3).await).await;
    stage.proxy.stall();
    let senders: Vec<_> =
        (0..256).map(|_| tokio::spawn(super::load::send_large(stage.forwarder.addr, 6 << 20))).collect();
    let mut most = 0;
    let finished = async {
        for sender in senders {
            sender.await.unwrap();
        }
    };
    tokio::pin!(finished);
    loop {
        tokio::select! {
            () = &mut finished => break,
            () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(stage.forwarder.resident()),
        }
    }
    testbed::figures(
        "Memory while the broker is stalled",
        &format!("256 bodies of 6 MiB, a budget of {} MiB: at most {} MiB resident", BUDGET >> 20, most >> 20),
    );
    assert!(most < 4 * BUDGET, "{} MiB resident", most >> 20);
    stage.proxy.heal();
    assert!(recovery(&stage.forwarder).await <= super::LATEST_RECOVERY);
}
