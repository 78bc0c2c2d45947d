//! Secrets that Lambda's variables only name.

use serde_json::json;
use testbed::{LambdaApi, SecretsExtension};

use crate::KEY;
use crate::client::{exchange, request};
use crate::function::Function;
use crate::stage::{message, queue};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_webhook_waits_for_the_secrets() {
    let (api, extension, vhost) = (LambdaApi::start().await, SecretsExtension::start().await, queue().await);
    let named = [
        ("QUEUE_URL_PARAMETER", "/hooks/queue-url".to_owned()),
        ("SOURCE_SHOP_ACCESS_KEY_SECRET_ID", "hooks/key".to_owned()),
        ("RUST_LOG", "trace,lambda_runtime::layers=trace".to_owned()),
    ];
    let function = Function::start(api.variables().into_iter().chain(extension.variables()).chain(named));

    let webhook = request("POST", &format!("/webhooks/shop/order?key={KEY}"), &[], b"{}");

    extension.put_secret("hooks/key", KEY);
    let answer = exchange(api.addr(), &webhook).await;
    assert_eq!(answer.status, 503, "one of the secrets is missing");
    let line = function.line("not configured").await;
    assert!(line.contains("QUEUE_URL_PARAMETER: '/hooks/queue-url' cannot be read"), "{line}");

    let url = vhost.amqp_url();
    extension.put_parameter("/hooks/queue-url", &url);
    extension.not_ready_for(3);
    let answer = exchange(api.addr(), &webhook).await;
    assert_eq!(answer.status, 200, "{}", function.log());
    assert_eq!(message(&vhost).await.body(), b"{}");
    let (login, _) = url.split_once('@').unwrap();
    let (_, password) = login.rsplit_once(':').unwrap();
    let log = function.log();
    assert!(log.contains("TRACE") && ![KEY, password].iter().any(|secret| log.contains(secret)), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_the_first_batch_from_sqs() {
    let (api, extension, vhost) = (LambdaApi::start().await, SecretsExtension::start().await, queue().await);
    let named = [("_HANDLER", "drain".to_owned()), ("QUEUE_URL_PARAMETER", "/hooks/queue-url".to_owned())];
    let function = Function::start(api.variables().into_iter().chain(extension.variables()).chain(named));
    let event = r#"{"specversion":"1.0","id":"1","source":"shop","type":"order","time":"2026-11-22T10:00:00Z","data_base64":"e30="}"#;
    let batch = json!({"Records": [{"messageId": "m-1", "body": event, "attributes": {}}]}).to_string();

    let failure = api.invoke(batch.as_bytes()).await.unwrap_err();
    assert!(failure.to_string().contains("QUEUE_URL_PARAMETER: '/hooks/queue-url' cannot be read"), "{failure}");
    function.line("not configured").await;

    extension.put_parameter("/hooks/queue-url", &vhost.amqp_url());
    assert_eq!(api.invoke(batch.as_bytes()).await.unwrap(), json!({"batchItemFailures": []}), "{}", function.log());
    assert_eq!(message(&vhost).await.body(), b"{}");
}
