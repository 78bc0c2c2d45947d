//! `setup` and `check` through the management API alone.

use serde_json::json;
use testbed::{Broker, Vhost, in_time, versions};
use webhook_queue::{Level, QueueType, State, Subscribe, Subscriber, check, setup};

use super::config;

async fn arguments(vhost: &Vhost, queue: &str) -> serde_json::Value {
    vhost.queue(queue).await.unwrap()["arguments"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_declares_what_it_declares_over_amqp() {
    for version in versions() {
        for queue_type in [QueueType::Classic, QueueType::Quorum] {
            let (one, other) =
                (Broker::shared(version).await.vhost().await, Broker::shared(version).await.vhost().await);
            let (mut http, mut amqp) = (config(&one.publish_url()), config(&other.amqp_url()));
            (http.queue_type, amqp.queue_type) = (queue_type, queue_type);
            assert_eq!(setup(&http).await.unwrap(), setup(&amqp).await.unwrap());
            let names = if queue_type == QueueType::Quorum { vec![".dead", ""] } else { vec![""] };
            for name in names.into_iter().map(|end| format!("e-conomic-webhooks{end}")) {
                assert_eq!(arguments(&one, &name).await, arguments(&other, &name).await, "{name}");
            }
            setup(&http).await.unwrap();
            let report = check(&http).await;
            assert!(report.passed(), "{report}");
            // A consumer declares the same, and has nothing to say about it.
            let subscriber = Subscriber::open(&config_for_amqp(&one, queue_type), 1).unwrap();
            let mut state = subscriber.state();
            drop(in_time("it receives", state.wait_for(|state| *state == State::Receiving)).await.unwrap());
            let report = check(&config_for_amqp(&one, queue_type)).await;
            assert!(!report.to_string().contains("not as configured"), "{report}");
        }
    }
}

fn config_for_amqp(vhost: &Vhost, queue_type: QueueType) -> webhook_queue::QueueConfig {
    let mut config = config(&vhost.amqp_url());
    config.queue_type = queue_type;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_is_named_with_its_argument() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        vhost.declare_queue("e-conomic-webhooks", json!({"x-message-ttl": 1_000_000})).await;
        let error = setup(&config(&vhost.publish_url())).await.unwrap_err().to_string();
        assert!(error.contains("'e-conomic-webhooks' exists") && error.contains("x-message-ttl"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_what_is_missing_and_what_would_be_lost() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        let config = config(&vhost.publish_url());
        let report = check(&config).await;
        assert!(!report.passed() && report.to_string().contains("webhook-forwarder setup"), "{report}");

        setup(&config).await.unwrap();
        vhost.unbind("e-conomic.direct", "e-conomic-webhooks", "webhook").await;
        let report = check(&config).await;
        assert!(!report.passed() && report.to_string().contains("is not bound"), "{report}");

        vhost.bind("e-conomic.direct", "e-conomic-webhooks", "webhook").await;
        let report = check(&config).await;
        let text = report.to_string();
        assert!(
            report.passed() && text.contains("older than 7d vanish") && text.contains("no memory or disk"),
            "{text}"
        );
        assert!(!report.findings.iter().any(|finding| finding.level == Level::Unchecked), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_never_shown() {
    let vhost = Broker::shared(versions()[0]).await.vhost().await;
    let url = vhost.publish_url();
    let config = config(&format!("http://nobody:s3cret@{}", url.split_once('@').unwrap().1));
    let report = check(&config).await.to_string();
    let error = setup(&config).await.unwrap_err().to_string();
    for text in [report, error, format!("{config:?}")] {
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("refuses the user or password") || text.starts_with("QueueConfig"), "{text}");
    }
}
