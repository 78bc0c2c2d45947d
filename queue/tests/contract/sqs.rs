//! The suite, run against SQS: standard and FIFO queues, on moto and on our own stand-in for it.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Moto, Proxy, SqsQueue, SqsServer, SqsStandIn};

use crate::queue::{Dead, Queue};

/// How long a lease lasts that nobody extends, and a moment.
const LAPSE: Duration = Duration::from_millis(30_500);

/// How long the question of a process that has died may still be answered, with messages that nobody then holds, and a
/// moment.
const DEAD_POLL: Duration = Duration::from_millis(2_200);

/// A kind of queue, as a type of its own.
macro_rules! sqs {
    ($module:ident: $fifo:literal on $server:ident; $($group:ident)+) => {
        mod $module {
            #[derive(Debug)]
            pub(crate) struct Kind;

            impl super::Kind for Kind {
                const FIFO: bool = $fifo;

                async fn server() -> &'static super::SqsServer {
                    super::$server::shared().await
                }

                async fn lapse(queue: &super::SqsQueue<'_>) {
                    super::Lapse::lapse(super::$server::shared().await, queue).await;
                }
            }

            pub(crate) type Tested = super::Sqs<Kind>;
            $($group!(crate::sqs::$module::Tested);)+
        }
    };
}

sqs!(standard: false on Moto; every_queue queue_that_keeps_what_expires);
sqs!(standard_on_the_stand_in: false on SqsStandIn; every_queue queue_that_keeps_what_expires);
// Within five minutes it takes two equal events for one.
sqs!(fifo: true on Moto; every_publisher every_subscriber queue_that_keeps_what_expires);
sqs!(fifo_on_the_stand_in: true on SqsStandIn; every_publisher every_subscriber queue_that_keeps_what_expires);

/// What differs between them.
pub(crate) trait Kind: Send + Sync {
    const FIFO: bool;

    /// Who plays SQS.
    fn server() -> impl Future<Output = &'static SqsServer> + Send;

    /// Lets the leases on the queue lapse.
    fn lapse(queue: &SqsQueue<'_>) -> impl Future<Output = ()> + Send;
}

/// Lets leases lapse.
trait Lapse {
    async fn lapse(&self, queue: &SqsQueue<'_>);
}

impl Lapse for Moto {
    async fn lapse(&self, _: &SqsQueue<'_>) {
        tokio::time::sleep(LAPSE).await;
    }
}

impl Lapse for SqsStandIn {
    async fn lapse(&self, queue: &SqsQueue<'_>) {
        tokio::time::sleep(DEAD_POLL).await;
        self.let_leases_lapse(queue);
    }
}

/// A queue of its own, behind a proxy of its own.
pub(crate) struct Sqs<K> {
    queue: SqsQueue<'static>,
    proxy: Proxy,
    ttl: Duration,
    kind: std::marker::PhantomData<K>,
}

impl<K: Kind> Queue for Sqs<K> {
    const MANY: usize = 25;

    async fn with_ttl(ttl: Duration) -> Self {
        let queue = Sqs { ttl, ..Self::absent().await };
        queue.set_up().await;
        queue
    }

    async fn absent() -> Self {
        let server = K::server().await;
        let (queue, proxy) = (server.absent_queue(K::FIFO), Proxy::start(server.addr()).await);
        Sqs { queue, proxy, ttl: Duration::from_secs(604_800), kind: std::marker::PhantomData }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("QUEUE_URL", self.queue.url_via(self.proxy.addr())),
            ("QUEUE_TTL", format!("{}ms", self.ttl.as_millis())),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    fn network(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }

    async fn let_leases_lapse(&self) {
        K::lapse(&self.queue).await;
    }

    async fn take_dead_letters(&self) -> Vec<Dead> {
        self.queue.dead().take_all().await.iter().map(read).collect()
    }
}

fn read(message: &Value) -> Dead {
    let text = |name: &str| message["MessageAttributes"][name]["StringValue"].as_str().map(str::to_owned);
    let event: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
    assert_eq!(message["MessageAttributes"].get("webhook.attempt"), None, "{}", json!(message["MessageAttributes"]));
    Dead {
        id: event["id"].as_str().unwrap().to_owned(),
        reason: text("dead.reason").unwrap_or_default(),
        error: text("dead.error").unwrap_or_default(),
        attempts: text("dead.attempts").map_or(0, |attempts| attempts.parse().unwrap()),
        handler: text("dead.handler"),
    }
}
