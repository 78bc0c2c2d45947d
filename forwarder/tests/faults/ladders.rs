//! The faults again, with more queues behind the one that fails: nobody who sends webhooks may notice any of them.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use testbed::{Broker, Proxy, SqsQueue, SqsStandIn, Version, Vhost, eventually};
use webhook_queue::{QueueConfig, QueueUrl, decode_sqs, setup};

use super::forwarder::Forwarder;
use super::found::Found;
use super::load::{Burst, Sent, send};
use super::table::recovery;
use super::{EXCHANGE, FAULT, LATEST_ANSWER, LATEST_RECOVERY, QUEUE, webhooks};

/// How long a queue that is back may take to be noticed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which queues there are, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ladder {
    RabbitMqSqs,
    RabbitMqManagementApiSqs,
    RabbitMqSqlite,
    SqsRabbitMq,
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ladder::RabbitMqSqs => "RabbitMQ → SQS",
            Ladder::RabbitMqManagementApiSqs => "RabbitMQ → its management API → SQS",
            Ladder::RabbitMqSqlite => "RabbitMQ → SQLite",
            Ladder::SqsRabbitMq => "SQS → RabbitMQ",
        })
    }
}

/// Those that RabbitMQ stands first on.
const RABBITMQ_FIRST: [Ladder; 3] = [Ladder::RabbitMqSqs, Ladder::RabbitMqManagementApiSqs, Ladder::RabbitMqSqlite];

struct Stage {
    ladder: Ladder,
    vhost: Vhost,
    /// In front of the broker.
    proxy: Proxy,
    sqs: &'static SqsStandIn,
    on_sqs: SqsQueue<'static>,
    /// In front of SQS.
    sqs_proxy: Proxy,
    _folder: TempDir,
    forwarder: Forwarder,
}

impl Stage {
    async fn set(broker: &Broker, ladder: Ladder) -> Stage {
        let (vhost, folder) = (broker.vhost().await, tempfile::tempdir().unwrap());
        // One of its own, because it is to refuse; it ends with the process.
        let sqs: &'static SqsStandIn = Box::leak(Box::new(SqsStandIn::start().await));
        let on_sqs = sqs.queue(false, json!({})).await;
        setup(&QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap())).await.unwrap();
        let (proxy, sqs_proxy) = (Proxy::start(broker.amqp_addr()).await, Proxy::start(sqs.addr()).await);
        let amqp = vhost.amqp_url_via(proxy.addr());
        let queue_on_sqs = on_sqs.url_via(sqs_proxy.addr());
        let (first, others) = match ladder {
            Ladder::RabbitMqSqs => (amqp, queue_on_sqs),
            Ladder::RabbitMqManagementApiSqs => (amqp, format!("{} {queue_on_sqs}", vhost.publish_url())),
            Ladder::RabbitMqSqlite => (amqp, format!("sqlite:{}", folder.path().join("fallback.db").display())),
            Ladder::SqsRabbitMq => (queue_on_sqs, amqp),
        };
        let settings = [
            ("QUEUE_FALLBACK_URLS", others.as_str()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        let forwarder = Forwarder::start(&first, &settings).await;
        recovery(&forwarder).await;
        Stage { ladder, vhost, proxy, sqs, on_sqs, sqs_proxy, _folder: folder, forwarder }
    }

    /// A burst in whose middle `strike` happens, and another one before `mend` undoes it. Every webhook is answered 200, and
    /// is found.
    async fn row(self, fault: &str, strike: impl AsyncFnOnce(&Stage), mend: impl AsyncFnOnce(&Stage)) {
        let half = webhooks() / 2;
        let burst = Burst::start(self.forwarder.addr, 0..half);
        burst.reached(half / 2).await;
        let struck = Instant::now();
        strike(&self).await;
        let mut sent = burst.finish().await;
        sent.extend(Burst::start(self.forwarder.addr, half..webhooks()).finish().await);
        tokio::time::sleep_until((struck + FAULT).into()).await;
        mend(&self).await;
        let found = self.found(&sent).await;
        let lost = found.lost(&sent);
        let of = |status| sent.iter().filter(|sent| sent.status == status).count();
        let slowest = sent.iter().map(|sent| sent.took).max().unwrap();
        let millis = |time: Duration| format!("{} ms", time.as_millis());
        testbed::row(
            "Webhooks through faults, with fallbacks",
            &["queues", "fault", "sent", "200", "lost", "copies", "slowest answer", "p99 in the second after it"],
            &[
                self.ladder.to_string(),
                fault.to_owned(),
                sent.len().to_string(),
                of(Some(200)).to_string(),
                lost.to_string(),
                found.copies.to_string(),
                millis(slowest),
                millis(p99_after(&sent, struck)),
            ],
        );
        let log = || format!("{}, {fault}\n{}", self.ladder, self.forwarder.log());
        assert_eq!((of(Some(200)), lost), (sent.len(), 0), "{}", log());
        assert!(slowest <= LATEST_ANSWER, "an answer took {slowest:?}: {}", log());
        assert!(self.forwarder.logged("takes no events; on to the next queue"), "nobody noticed it: {}", log());
    }

    /// Everything that any queue holds.
    async fn found(&self, sent: &[Sent]) -> Found {
        let mut found = Found::default();
        for message in self.on_sqs.take_all().await {
            found.note(&decode_sqs(message["Body"].as_str().unwrap()).unwrap().body);
        }
        found.drain_all(&self.vhost, sent).await;
        found
    }
}

/// Of the answers that were waited for in the second after that.
fn p99_after(sent: &[Sent], struck: Instant) -> Duration {
    let concerns = |sent: &&Sent| sent.began < struck + Duration::from_secs(1) && sent.began + sent.took > struck;
    let mut took: Vec<Duration> = sent.iter().filter(concerns).map(|sent| sent.took).collect();
    took.sort();
    took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_killed() {
    for ladder in RABBITMQ_FIRST {
        let broker = Broker::start(Version::V3).await;
        let stage = Stage::set(&broker, ladder).await;
        broker.let_definitions_settle().await;
        stage
            .row("broker killed and started again", async |_| broker.kill().await, async |_| broker.restart().await)
            .await;
    }
}

/// One row for each ladder that RabbitMQ stands first on.
async fn rows(fault: &str, strike: impl AsyncFn(&Stage), mend: impl AsyncFn(&Stage)) {
    for ladder in RABBITMQ_FIRST {
        Stage::set(Broker::shared(Version::V3).await, ladder).await.row(fault, &strike, &mend).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_cut() {
    rows("TCP cut", async |stage| stage.proxy.cut(), async |stage| stage.proxy.heal()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_stalled() {
    rows("TCP stalled", async |stage| stage.proxy.stall(), async |stage| stage.proxy.heal()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchange_deleted() {
    rows(
        "exchange deleted and made again",
        async |stage| stage.vhost.delete_exchange(EXCHANGE).await,
        async |stage| {
            stage.vhost.declare_exchange(EXCHANGE, "direct").await;
            stage.vhost.bind(EXCHANGE, QUEUE, "webhook").await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_removed() {
    rows(
        "binding removed and made again",
        async |stage| stage.vhost.unbind(EXCHANGE, QUEUE, "webhook").await,
        async |stage| stage.vhost.bind(EXCHANGE, QUEUE, "webhook").await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_alarm() {
    for ladder in RABBITMQ_FIRST {
        let broker = Broker::start(Version::V3).await;
        Stage::set(&broker, ladder)
            .await
            .row(
                "memory alarm",
                async |_| {
                    broker.memory_alarm(true).await;
                },
                async |_| {
                    broker.memory_alarm(false).await;
                },
            )
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_full() {
    let full = |stage: &Stage| format!("policies/{}/full", stage.vhost.name());
    rows(
        "queue full with reject-publish",
        async |stage| {
            let policy = json!({"pattern": QUEUE, "apply-to": "queues",
                                "definition": {"max-length": webhooks() / 2, "overflow": "reject-publish"}});
            assert!(stage.vhost.api("PUT", &full(stage), Some(policy)).await.0 < 300);
        },
        async |stage| assert!(stage.vhost.api("DELETE", &full(stage), None).await.0 < 300),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqs_in_trouble() {
    for (fault, strike) in [
        ("TCP cut", (|stage| stage.sqs_proxy.cut()) as fn(&Stage)),
        ("TCP stalled", |stage| stage.sqs_proxy.stall()),
        ("unavailable", |stage| stage.sqs.refuse(503, "ServiceUnavailable")),
        ("throttled", |stage| stage.sqs.refuse(400, "RequestThrottled")),
        ("access denied", |stage| stage.sqs.refuse(403, "AccessDenied")),
        ("queue deleted", |stage| stage.sqs.refuse(400, "QueueDoesNotExist")),
    ] {
        Stage::set(Broker::shared(Version::V3).await, Ladder::SqsRabbitMq)
            .await
            .row(
                fault,
                async |stage| {
                    strike(stage);
                },
                async |stage| {
                    stage.sqs_proxy.heal();
                    stage.sqs.accept();
                },
            )
            .await;
    }
}

/// With no queue left everybody is told so in time, and one that is back is used at once, whichever it is.
#[tokio::test(flavor = "multi_thread")]
async fn all_queues_down() {
    let stage = Stage::set(Broker::shared(Version::V3).await, Ladder::RabbitMqSqs).await;
    for back in [&stage.sqs_proxy, &stage.proxy] {
        stage.proxy.stall();
        stage.sqs_proxy.stall();
        let sent = Burst::start(stage.forwarder.addr, 0..200).finish().await;
        let slowest = sent.iter().map(|sent| sent.took).max().unwrap();
        assert!(sent.iter().all(|sent| sent.status == Some(503)), "{}", stage.forwarder.log());
        assert!(slowest <= LATEST_ANSWER, "an answer took {slowest:?}");
        back.heal();
        let healed = Instant::now();
        let again = eventually("one of them takes it", PATIENCE, async || {
            (send(stage.forwarder.addr, &mut None, 0).await.status == Some(200)).then(|| healed.elapsed())
        })
        .await;
        assert!(again <= LATEST_RECOVERY, "it took {again:?}: {}", stage.forwarder.log());
    }
}
