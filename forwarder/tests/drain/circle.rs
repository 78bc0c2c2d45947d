//! A function whose broker takes no more connections: the webhook goes to SQS, and from there to the broker.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{LambdaApi, eventually};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::PATIENCE;
use crate::function::Drain;
use crate::stage::Stage;

/// What the most impatient provider waits.
const LATEST_ANSWER: Duration = Duration::from_secs(3);

struct Forwarder {
    api: LambdaApi,
    _function: Child,
}

impl Forwarder {
    async fn start(stage: &Stage) -> Forwarder {
        let api = LambdaApi::start().await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_webhook-forwarder"));
        command.env_clear().envs(stage.variables()).envs(api.variables()).env("SOURCE_SHOP_OPEN", "yes");
        let function = command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        Forwarder { api, _function: function }
    }

    /// Sends a webhook as a Function URL does: the id of its event.
    async fn takes(&self, body: &str) -> String {
        let request = json!({
            "version": "2.0", "rawPath": "/webhooks/shop/order", "rawQueryString": "", "headers": {},
            "requestContext": {"http": {"method": "POST", "path": "/webhooks/shop/order", "sourceIp": "203.0.113.7"}},
            "body": body, "isBase64Encoded": false,
        });
        let start = Instant::now();
        let answer = self.api.invoke(request.to_string().as_bytes()).await.unwrap();
        assert!(start.elapsed() < LATEST_ANSWER, "{:?}", start.elapsed());
        assert_eq!(answer["statusCode"], 200, "{answer}");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        body["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_beyond_the_brokers_connections_lands_on_sqs_and_comes_back() {
    let (stage, queue) = Stage::with_sqs(false).await;
    let limit = format!("vhost-limits/{}/max-connections", stage.vhost.name());
    assert_eq!(stage.vhost.api("PUT", &limit, Some(json!({"value": 0}))).await.0, 204);
    let forwarder = Forwarder::start(&stage).await;
    let mut sent = HashSet::new();
    for number in 0..3 {
        sent.insert(forwarder.takes(&number.to_string()).await);
    }
    let messages = queue.take_all().await;
    assert_eq!(messages.len(), 3);

    let drain = Drain::start(&stage).await;
    let record =
        |message: &Value| json!({"messageId": message["MessageId"], "body": message["Body"], "attributes": {}});
    let batch = json!({"Records": messages.iter().map(record).collect::<Vec<_>>()});
    let failed = drain.answers(&batch).await;
    assert_eq!(failed["batchItemFailures"].as_array().unwrap().len(), 3, "the broker still takes no connection");
    stage.vhost.api("DELETE", &limit, None).await;
    // SQS would hand the batch out again.
    eventually("the broker takes the batch", PATIENCE, async || {
        (drain.answers(&batch).await == json!({"batchItemFailures": []})).then_some(())
    })
    .await;
    let found = stage.take().await;
    assert!(found.iter().all(|event| event.rung == 1), "the fallback took them");
    assert_eq!(found.into_iter().map(|event| event.id).collect::<HashSet<_>>(), sent);
}
