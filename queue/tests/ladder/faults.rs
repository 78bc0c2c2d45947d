//! One fault after another.

use serde_json::json;
use testbed::{Broker, Version};
use webhook_queue::{PublishError, Publisher};

use crate::stage::{DEADLINE, EXCHANGE, QUEUE, Second, Stage, publish, read};

/// Each fault with each fallback.
macro_rules! with_each_fallback {
    ($($fault:ident)+) => {
        $(
            mod $fault {
                use crate::stage::Second;

                #[tokio::test(flavor = "multi_thread")]
                async fn to_sqlite() {
                    super::$fault(Second::sqlite().await).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn to_the_management_api() {
                    super::$fault(Second::management().await).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn to_sqs() {
                    super::$fault(Second::sqs().await).await;
                }
            }
        )+
    };
}

with_each_fallback!(cut stalled unroutable full too_many_connections blocked);

async fn stage(second: Second) -> Stage {
    Stage::new(Broker::shared(Version::V3).await, second).await
}

async fn cut(second: Second) {
    let stage = stage(second).await;
    let publisher = stage.publisher().await;
    stage.proxy.cut();
    stage.steps_down(&publisher).await;
    stage.proxy.heal();
    stage.comes_back(&publisher).await;
}

async fn stalled(second: Second) {
    let stage = stage(second).await;
    let publisher = stage.publisher().await;
    stage.proxy.stall();
    stage.steps_down_within(DEADLINE, &publisher).await;
    stage.proxy.heal();
    stage.comes_back(&publisher).await;
}

async fn unroutable(second: Second) {
    let stage = stage(second).await;
    let publisher = stage.publisher().await;
    stage.vhost.unbind(EXCHANGE, QUEUE, "webhook").await;
    stage.steps_down(&publisher).await;
    stage.vhost.delete_exchange(EXCHANGE).await;
    stage.steps_down(&publisher).await;
    stage.vhost.declare_exchange(EXCHANGE, "direct").await;
    stage.vhost.bind(EXCHANGE, QUEUE, "webhook").await;
    stage.comes_back(&publisher).await;
}

async fn full(second: Second) {
    let stage = stage(second).await;
    let publisher = stage.publisher().await;
    stage.vhost.delete_queue(QUEUE).await;
    stage.vhost.declare_queue("full", json!({"x-max-length": 0, "x-overflow": "reject-publish"})).await;
    stage.vhost.bind(EXCHANGE, "full", "webhook").await;
    stage.steps_down(&publisher).await;
}

async fn too_many_connections(second: Second) {
    let stage = stage(second).await;
    let limit = format!("vhost-limits/{}/max-connections", stage.vhost.name());
    let (status, _) = stage.vhost.api("PUT", &limit, Some(json!({"value": 0}))).await;
    assert_eq!(status, 204);
    let publisher = Publisher::open(&stage.config()).unwrap();
    stage.steps_down(&publisher).await;
    stage.vhost.api("DELETE", &limit, None).await;
    stage.comes_back(&publisher).await;
}

async fn blocked(second: Second) {
    let broker = Broker::start(Version::V3).await;
    let stage = Stage::new(&broker, second).await;
    let publisher = stage.publisher().await;
    broker.memory_alarm(true).await;
    stage.steps_down(&publisher).await;
    broker.memory_alarm(false).await;
    stage.comes_back(&publisher).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_all_are_down_until_any_comes_back() {
    let stage = stage(Second::sqs().await).await;
    let Second::Sqs { proxy: second, .. } = &stage.second else { unreachable!() };
    let publisher = stage.publisher().await;
    stage.proxy.stall();
    second.stall();
    for _ in 0..3 {
        let Err(PublishError::NoQueue(failures)) = publish(&publisher).await.0 else { panic!("nobody could take it") };
        assert!(failures.iter().any(|(name, _)| name.starts_with("amqp://")), "{failures:?}");
        assert!(failures.iter().any(|(name, _)| name.starts_with("sqs+http://")), "{failures:?}");
    }
    second.heal();
    let (outcome, _) = publish(&publisher).await;
    outcome.unwrap();
    second.stall();
    stage.proxy.heal();
    stage.comes_back_alone(&publisher).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_told() {
    let config = read("amqp://user:s3cret@127.0.0.1:1/", "amqp://user:s3cret@127.0.0.1:2/");
    let publisher = Publisher::open(&config).unwrap();
    let error = publish(&publisher).await.0.unwrap_err();
    assert!(error.to_string().contains("amqp://127.0.0.1:1/"), "{error}");
    assert!(!error.to_string().contains("s3cret") && !format!("{error:?}").contains("s3cret"));
}
