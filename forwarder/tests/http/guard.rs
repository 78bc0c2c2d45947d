//! The warning before a provider stops sending.

use http::{Request, StatusCode};
use http_body_util::Full;
use tower::ServiceExt;
use webhook_forwarder::{Env, Forwarder, ForwarderConfig};
use webhook_queue::PublishError;

use crate::log::Log;
use crate::support::Queue;

struct Stage {
    forwarder: Forwarder<Queue>,
    queue: Queue,
    log: Log,
    _logging: tracing::subscriber::DefaultGuard,
}

fn stage(settings: &[(&str, &str)]) -> Stage {
    let log = Log::default();
    let logging = log.of_this_thread();
    let queue = Queue::new();
    let config = ForwarderConfig::with_env(Env::from_pairs(settings.iter().copied())).unwrap();
    Stage { forwarder: Forwarder::new(&config, queue.clone()), queue, log, _logging: logging }
}

impl Stage {
    async fn post(&self, target: &str, times: usize) -> StatusCode {
        let mut status = StatusCode::OK;
        for _ in 0..times {
            let request = Request::post(target).body(Full::<bytes::Bytes>::from("x")).unwrap();
            status = self.forwarder.clone().oneshot(request).await.unwrap().status();
        }
        status
    }

    fn warnings(&self) -> Vec<String> {
        self.log
            .lines_with("failures.limit")
            .iter()
            .map(|line| line.split("service:").last().unwrap().to_owned())
            .collect()
    }
}

const E_CONOMIC: [(&str, &str); 1] = [("SOURCE_E_CONOMIC_ACCESS_KEY", "k")];

#[tokio::test]
async fn failures_are_counted_by_type_and_told_long_before_the_provider_stops() {
    let stage = stage(&E_CONOMIC);
    stage.queue.fail_with(|| PublishError::Refused("full".to_owned()));
    let failed = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(stage.post("/webhooks/e-conomic/product-updated?key=k", 49).await, failed);
    assert_eq!(stage.post("/webhooks/e-conomic?type=order-updated&key=k", 49).await, failed);
    assert_eq!(stage.warnings(), [""; 0]);
    assert_eq!(stage.post("/webhooks/e-conomic/product-updated?key=k", 75).await, failed);
    insta::assert_snapshot!(stage.warnings().join("\n"), @"");
}

#[tokio::test]
async fn refusals_are_counted_and_told_apart() {
    let stage = stage(&E_CONOMIC);
    assert_eq!(stage.post("/webhooks/e-conomic/a?key=other", 25).await, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.post("/webhooks/e-conomic/b?key=other", 25).await, StatusCode::UNAUTHORIZED);
    insta::assert_snapshot!(stage.warnings().join("\n"), @"");
}

#[tokio::test]
async fn nothing_is_told_where_nobody_counts() {
    let ours = ("SOURCE_DEMO_OPEN", "yes");
    let stage = stage(&[ours]);
    stage.queue.fail_with(|| PublishError::TimedOut);
    assert_eq!(stage.post("/webhooks/demo", 300).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stage.warnings(), [""; 0]);
}
