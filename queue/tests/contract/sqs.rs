//! The suite's publishing half, run against SQS. What is published is drained into a file, and received from that.

use std::time::Duration;

use serde_json::json;
use testbed::{Moto, Proxy, SqsQueue};
use tokio::task::JoinSet;
use webhook_queue::{QueueUrl, Subscriber, drain};

use crate::queue::Queue;

// Not a FIFO queue: that takes two equal events for one.
every_publisher!(crate::sqs::Sqs);

/// A queue of its own, behind a proxy of its own, and the file that it is drained into.
pub(crate) struct Sqs {
    queue: SqsQueue<'static>,
    proxy: Proxy,
    folder: tempfile::TempDir,
    draining: std::sync::Mutex<JoinSet<()>>,
}

impl Sqs {
    fn file(&self) -> String {
        format!("sqlite:{}", self.folder.path().join("drained.db").display())
    }

    async fn new(queue: SqsQueue<'static>) -> Sqs {
        let proxy = Proxy::start(Moto::shared().await.addr()).await;
        Sqs { queue, proxy, folder: tempfile::tempdir().unwrap(), draining: Default::default() }
    }

    /// Goes on moving everything, past the proxy.
    fn start_to_drain(&self) {
        let mut config = self.config();
        config.url = QueueUrl::parse(&self.file()).unwrap();
        config.fallbacks = vec![QueueUrl::parse(&self.queue.url()).unwrap()];
        let mut draining = self.draining.lock().unwrap();
        if draining.is_empty() {
            draining.spawn(async move {
                loop {
                    drain(&config).await.unwrap();
                }
            });
        }
    }
}

impl Queue for Sqs {
    async fn with_ttl(_: Duration) -> Sqs {
        Sqs::new(Moto::shared().await.queue(false, json!({})).await).await
    }

    async fn absent() -> Sqs {
        Sqs::new(Moto::shared().await.absent_queue(false)).await
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("QUEUE_URL", self.queue.url_via(self.proxy.addr())),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    fn variables_to_subscribe(&self) -> Vec<(&'static str, String)> {
        vec![("QUEUE_URL", self.file())]
    }

    fn subscriber(&self, prefetch: u16) -> Subscriber {
        self.start_to_drain();
        Subscriber::open(&self.config_to_subscribe(), prefetch).unwrap()
    }

    fn network(&self) -> Option<&Proxy> {
        Some(&self.proxy)
    }
}
