//! The warning before a provider stops sending.

use http::{Request, StatusCode};
use http_body_util::Full;
use insta::assert_snapshot;
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
    /// Posts what Shopify would have signed.
    async fn post(&self, target: &str, times: usize) -> StatusCode {
        let mut status = StatusCode::OK;
        for _ in 0..times {
            let request = Request::post(target).header(SIGNATURE.0, SIGNATURE.1);
            let request = request.body(Full::<bytes::Bytes>::from("Test Payload Body")).unwrap();
            status = self.forwarder.clone().oneshot(request).await.unwrap().status();
        }
        status
    }

    fn warnings(&self) -> Vec<String> {
        self.log.lines_with("failures.limit")
    }
}

/// By the secret "Convoy".
const SIGNATURE: (&str, &str) = ("x-shopify-hmac-sha256", "16FUVH58NeMcTIIOICN2UJOcPTTa4TbjCndXymGrtM8=");
const E_CONOMIC: [(&str, &str); 1] = [("SOURCE_E_CONOMIC_ACCESS_KEY", "k")];

#[tokio::test]
async fn failures_are_counted_by_type_and_told_long_before_the_provider_stops() {
    let stage = stage(&E_CONOMIC);
    stage.queue.fail_with(|| PublishError::Refused("full".to_owned()));
    let failed = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(stage.post("/webhooks/e-conomic/product-updated?key=k", 49).await, failed);
    assert_eq!(stage.post("/webhooks/e-conomic?type=order-updated&key=k", 49).await, failed);
    assert_eq!(stage.warnings(), [""; 0]);
    assert_eq!(stage.post("/webhooks/e-conomic/product-updated?key=k", 201).await, failed);
    assert_snapshot!(stage.warnings().join("\n"), @r#"
    WARN webhook_forwarder::guard: 50 requests to e-conomic/product-updated were answered 503 within a day, and at 250 the provider stops sending: mend the queue source.name="e-conomic" event.type="product-updated" failures.count=50 failures.limit=250 failures.hours=24
    WARN webhook_forwarder::guard: 125 requests to e-conomic/product-updated were answered 503 within a day, and at 250 the provider stops sending: mend the queue source.name="e-conomic" event.type="product-updated" failures.count=125 failures.limit=250 failures.hours=24
    WARN webhook_forwarder::guard: 200 requests to e-conomic/product-updated were answered 503 within a day, and at 250 the provider stops sending: mend the queue source.name="e-conomic" event.type="product-updated" failures.count=200 failures.limit=250 failures.hours=24
    WARN webhook_forwarder::guard: 250 requests to e-conomic/product-updated were answered 503 within a day, and at 250 the provider stops sending: mend the queue, and start it again there if it has stopped source.name="e-conomic" event.type="product-updated" failures.count=250 failures.limit=250 failures.hours=24
    "#);
}

#[tokio::test]
async fn refusals_are_counted_and_told_apart() {
    let stage = stage(&E_CONOMIC);
    assert_eq!(stage.post("/webhooks/e-conomic/a?key=other", 25).await, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.post("/webhooks/e-conomic/b?key=other", 25).await, StatusCode::UNAUTHORIZED);
    assert_snapshot!(stage.warnings().join("\n"), @r#"WARN webhook_forwarder::guard: 50 requests to e-conomic were refused within a day, and at 250 the provider stops sending: if they are its own, mend its key, its signature or its addresses source.name="e-conomic" failures.count=50 failures.limit=250 failures.hours=24"#);
}

#[tokio::test]
async fn where_only_failures_in_a_row_count_a_success_begins_anew() {
    let stage = stage(&[("SOURCE_SHOPIFY_SIGNING_SECRET", "Convoy")]);
    for _ in 0..3 {
        assert_eq!(stage.post("/webhooks/shopify", 1).await, StatusCode::OK);
        stage.queue.fail_with(|| PublishError::TimedOut);
        assert_eq!(stage.post("/webhooks/shopify", 1).await, StatusCode::SERVICE_UNAVAILABLE);
        stage.queue.mend();
    }
    assert_eq!(stage.warnings(), [""; 0]);
    stage.queue.fail_with(|| PublishError::TimedOut);
    stage.post("/webhooks/shopify", 1).await;
    assert_eq!(stage.warnings().len(), 1);
}

#[tokio::test]
async fn nothing_is_told_where_nobody_counts() {
    let ours = ("SOURCE_DEMO_OPEN", "yes");
    let stage = stage(&[ours]);
    stage.queue.fail_with(|| PublishError::TimedOut);
    assert_eq!(stage.post("/webhooks/demo", 300).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stage.warnings(), [""; 0]);
}
