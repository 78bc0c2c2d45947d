//! Lambda stops a function between two invocations, for moments or for hours. What the network does to its connections
//! meanwhile, nobody tells it.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use testbed::{Broker, LambdaApi, Proxy, Version, Vhost, eventually};

use crate::client::{exchange, request};
use crate::function::Function;
use crate::stage::{messages, queue, variables};
use crate::{LATEST_ANSWER, PATIENCE};

/// How the function reaches the broker.
#[derive(Clone, Copy, Debug)]
enum Queue {
    Amqp,
    ManagementApi,
}

/// What happens to the connection to the broker while the function is stopped.
#[derive(Clone, Copy, Debug)]
enum Network {
    Untouched,
    /// It is reset, and new ones pass.
    Cut,
    /// It is a black hole, and new ones pass: so does a NAT gateway forget it.
    Forgotten,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Queue::Amqp => "RabbitMQ",
            Queue::ManagementApi => "RabbitMQ (management API)",
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Network::Untouched => "left alone",
            Network::Cut => "reset",
            Network::Forgotten => "forgotten",
        })
    }
}

/// How often a function is stopped, and for how long.
fn stops() -> Vec<(usize, Duration)> {
    if testbed::long() {
        vec![(200, Duration::from_secs(1)), (20, Duration::from_secs(10)), (3, Duration::from_secs(90))]
    } else {
        vec![(20, Duration::from_millis(100)), (2, Duration::from_secs(5))]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_was_stopped_takes_the_next_webhook_in_time() {
    tokio::join!(
        freeze(Queue::Amqp, Network::Untouched),
        freeze(Queue::Amqp, Network::Cut),
        freeze(Queue::Amqp, Network::Forgotten),
        freeze(Queue::ManagementApi, Network::Untouched),
        freeze(Queue::ManagementApi, Network::Cut),
        freeze(Queue::ManagementApi, Network::Forgotten),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_wakes_up_without_a_queue_says_so_in_time() {
    let stage = Stage::set(Queue::Amqp).await;
    stage.webhook("first").await;
    stage.stop().await;
    stage.proxy.cut();
    let (status, took) = stage.send("refused").await;
    assert_eq!(status, 503);
    assert!(took <= LATEST_ANSWER, "the answer took {took:?}");
    stage.proxy.heal();
    eventually("the queue is found again", PATIENCE, async || (stage.send("again").await.0 == 200).then_some(())).await;
    assert!(messages(&stage.vhost).await.iter().any(|message| message.body() == b"again"));
}

async fn freeze(queue: Queue, network: Network) {
    let stage = Stage::set(queue).await;
    stage.webhook("first").await;
    let mut sent = 1;
    for (cycles, stop) in stops() {
        let mut slowest = Duration::ZERO;
        for _ in 0..cycles {
            stage.stop().await;
            match network {
                Network::Untouched => {}
                Network::Cut => {
                    stage.proxy.cut();
                    stage.proxy.heal();
                }
                Network::Forgotten => stage.proxy.forget(),
            }
            tokio::time::sleep(stop).await;
            slowest = slowest.max(stage.webhook(&format!("{stop:?} {sent}")).await);
            sent += 1;
        }
        let [queue, network, stops] = [queue.to_string(), network.to_string(), format!("{cycles} x {stop:?}")];
        testbed::row(
            "Functions stopped between invocations",
            &["queue", "network", "stops", "slowest answer"],
            &[queue, network, stops, format!("{} ms", slowest.as_millis())],
        );
    }
    let found: HashSet<Vec<u8>> = messages(&stage.vhost).await.iter().map(|message| message.body()).collect();
    assert_eq!(found.len(), sent, "{queue}, {network}: {} lost", sent - found.len());
}

struct Stage {
    vhost: Vhost,
    proxy: Proxy,
    api: LambdaApi,
    function: Function,
}

impl Stage {
    async fn set(queue: Queue) -> Stage {
        let vhost = self::queue().await;
        let broker = Broker::shared(Version::V3).await;
        let (proxy, url) = match queue {
            Queue::Amqp => {
                let proxy = Proxy::start(broker.amqp_addr()).await;
                let url = vhost.amqp_url_via(proxy.addr());
                (proxy, url)
            }
            Queue::ManagementApi => {
                let proxy = Proxy::start(broker.management_addr()).await;
                let url = vhost.publish_url_via(proxy.addr());
                (proxy, url)
            }
        };
        let api = LambdaApi::start().await;
        let function = Function::start(api.variables().into_iter().chain(variables(&url)));
        Stage { vhost, proxy, api, function }
    }

    async fn stop(&self) {
        self.function.signal("STOP");
        eventually("every thread is stopped", PATIENCE, async || self.function.is_stopped().then_some(())).await;
    }

    /// Sends a webhook that must be taken in time, and says how long that took.
    async fn webhook(&self, body: &str) -> Duration {
        let (status, took) = self.send(body).await;
        assert_eq!(status, 200, "{body}: after {took:?}\n{}", self.function.log());
        assert!(took <= LATEST_ANSWER, "{body}: the answer took {took:?}\n{}", self.function.log());
        took
    }

    /// Sends a webhook and lets the function go on.
    async fn send(&self, body: &str) -> (u16, Duration) {
        let request = request("POST", "/webhooks/shop", &[], body.as_bytes());
        let began = Instant::now();
        let (answer, ()) = tokio::join!(exchange(self.api.addr(), &request), async { self.function.signal("CONT") });
        (answer.status, began.elapsed())
    }
}
