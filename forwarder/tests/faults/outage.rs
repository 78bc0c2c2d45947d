//! A broker that is away for long, and a forwarder with a file of its own to turn to.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use testbed::{Broker, Proxy, Version, Vhost, eventually};
use webhook_queue::{QueueConfig, QueueUrl, setup};

use super::forwarder::Forwarder;
use super::found::Found;
use super::load::{Burst, Sent};
use super::{LATEST_ANSWER, QUEUE, webhooks};

/// How often the forwarder is killed while the broker is away.
const KILLS: usize = 3;

/// Half an hour of 500 webhooks a second; in the checks, what is no matter of hours.
fn webhooks_of_an_outage() -> usize {
    if testbed::long() { 900_000 } else { 100_000 }
}

struct Stage {
    vhost: Vhost,
    proxy: Proxy,
    folder: TempDir,
}

impl Stage {
    /// The guide's topology, and a broker that cannot be reached.
    async fn without_broker() -> Stage {
        let broker = Broker::shared(Version::V3).await;
        let (vhost, proxy) = (broker.vhost().await, Proxy::start(broker.amqp_addr()).await);
        setup(&QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap())).await.unwrap();
        proxy.cut();
        Stage { vhost, proxy, folder: tempfile::tempdir().unwrap() }
    }

    async fn forwarder(&self, listen: &str) -> Forwarder {
        let file = format!("sqlite:{}", self.folder.path().join("fallback.db").display());
        let settings = [("QUEUE_FALLBACK_URLS", file.as_str()), ("LISTEN", listen)];
        Forwarder::start(&self.vhost.amqp_url_via(self.proxy.addr()), &settings).await
    }

    /// Lets the forwarder reach the broker, and waits until it has begun to move what it has.
    async fn broker_is_back(&self) -> Found {
        self.proxy.heal();
        let first =
            eventually("the first is moved", Duration::from_secs(30), async || self.vhost.get(QUEUE).await).await;
        let mut found = Found::default();
        found.note(&STANDARD.decode(first["payload"].as_str().unwrap()).unwrap());
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_nothing_although_the_forwarder_is_killed() {
    let all = webhooks_of_an_outage();
    let stage = Stage::without_broker().await;
    let mut forwarder = stage.forwarder("127.0.0.1:0").await;
    let addr = forwarder.addr;
    let began = Instant::now();
    let burst = Burst::until_answered(addr, 0..all);
    for kill in 1..=KILLS {
        burst.reached(all * kill / (KILLS + 1)).await;
        forwarder.kill().await;
        forwarder = stage.forwarder(&addr.to_string()).await;
    }
    let mut sent = burst.finish().await;
    let (taken, slowest_away) = (rate(sent.len(), began), slowest(&sent));

    let (back, meanwhile) = (Instant::now(), all / 10);
    let mut found = stage.broker_is_back().await;
    let burst = Burst::start(addr, all..all + meanwhile);
    let (more, ()) = tokio::join!(burst.finish(), found.drain_all(&stage.vhost, &sent));
    let slowest_moving = slowest(&more);
    sent.extend(more);
    found.drain_all(&stage.vhost, &sent).await;
    let lost = found.lost(&sent);
    testbed::row(
        "The broker is away, the fallback is a file, the forwarder is killed meanwhile",
        &[
            "webhooks",
            "kills",
            "lost",
            "copies",
            "taken",
            "slowest answer",
            "moved and taken",
            "slowest answer meanwhile",
        ],
        &[
            sent.len().to_string(),
            KILLS.to_string(),
            lost.to_string(),
            found.copies.to_string(),
            taken,
            format!("{} ms", slowest_away.as_millis()),
            rate(sent.len(), back),
            format!("{} ms", slowest_moving.as_millis()),
        ],
    );
    let odd: Vec<_> = sent.iter().filter(|sent| sent.status != Some(200)).collect();
    assert!(odd.is_empty(), "{} were not answered 200; the first: {:?}\n{}", odd.len(), odd[0], forwarder.log());
    assert_eq!((sent.len(), lost), (all + meanwhile, 0), "{}", forwarder.log());
    let slowest = slowest_away.max(slowest_moving);
    assert!(slowest <= LATEST_ANSWER, "an answer took {slowest:?}");
}

fn rate(webhooks: usize, since: Instant) -> String {
    format!("{:.0} a second", webhooks as f64 / since.elapsed().as_secs_f64())
}

fn slowest(sent: &[Sent]) -> Duration {
    sent.iter().map(|sent| sent.took).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_that_is_terminated_while_it_drains_leaves_nothing_half_done() {
    let stage = Stage::without_broker().await;
    let mut forwarder = stage.forwarder("127.0.0.1:0").await;
    let sent = Burst::start(forwarder.addr, 0..webhooks()).finish().await;
    assert!(sent.iter().all(|sent| sent.status == Some(200)), "{}", forwarder.log());
    let mut found = stage.broker_is_back().await;
    forwarder.terminate();
    assert_eq!(forwarder.exit_code().await, Some(0), "{}", forwarder.log());
    found.drain(&stage.vhost).await;
    assert!(found.lost(&sent) > 0, "it was to be terminated in the middle");

    let forwarder = stage.forwarder("127.0.0.1:0").await;
    found.drain_all(&stage.vhost, &sent).await;
    assert_eq!((found.lost(&sent), found.copies), (0, 0), "{}", forwarder.log());
}
