//! What is Lambda's own: events that are no requests, and a process that cannot start.

use std::time::Instant;

use serde_json::{Value, json};
use testbed::{LambdaApi, Proxy, Vhost, eventually};

use crate::function::Function;
use crate::stage::{message, messages, queue, variables};
use crate::{LATEST_ANSWER, PATIENCE};

async fn function() -> (Vhost, LambdaApi, Function) {
    let vhost = queue().await;
    let api = LambdaApi::start().await;
    let function = Function::start(api.variables().into_iter().chain(variables(&vhost.amqp_url())));
    (vhost, api, function)
}

/// A webhook in the form of a Function URL, with these fields changed.
fn event(changes: Value) -> Vec<u8> {
    let mut event = json!({
        "version": "2.0",
        "rawPath": "/webhooks/shop",
        "rawQueryString": "",
        "headers": {"content-type": "text/plain"},
        "requestContext": {"http": {"method": "POST", "sourceIp": "192.0.2.1"}, "stage": "$default"},
        "body": "x",
        "isBase64Encoded": false,
    });
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    event.to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_event_that_is_no_request_fails_its_invocation() {
    let (vhost, api, function) = function().await;
    for event in
        ["{}", "[]", "7", r#"{"key1": "value1"}"#, r#"{"Records": [{"body": "x"}]}"#, r#"{"httpMethod": "POST"}"#]
    {
        let error = api.invoke(event.as_bytes()).await.unwrap_err();
        assert_eq!(error["errorType"], "NotHttp", "{event}: {error}");
        assert!(
            error["errorMessage"].as_str().unwrap().starts_with("this is not the event of a Function URL"),
            "{error}"
        );
    }
    assert_eq!(api.invoke(&event(json!({}))).await.unwrap()["statusCode"], 200);
    assert_eq!(message(&vhost).await.body(), b"x");
    assert!(!function.log().contains("value1"), "{}", function.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_answered_and_never_queued() {
    let (vhost, api, function) = function().await;
    let long = format!("/webhooks/shop/{}", "x".repeat(70_000));
    let mangled = json!({"headers": {"content-length": "1"}, "body": "\u{fffd}"});
    for (changes, status) in [
        (json!({"body": "%%%", "isBase64Encoded": true}), 503),
        (mangled, 503),
        (json!({"rawQueryString": "a=b c"}), 400),
        (json!({"rawQueryString": "a#b"}), 400),
        (json!({"rawPath": "webhooks/shop"}), 400),
        (json!({"rawPath": long}), 414),
        (json!({"headers": {"a\nb": "c"}}), 400),
        (json!({"headers": {"a": "b\r\nc: d"}}), 400),
        (json!({"requestContext": {"http": {"method": "PO ST"}}}), 400),
        (json!({"requestContext": {"http": {"method": "GET"}}}), 405),
        (json!({"rawPath": "/webhooks/other"}), 404),
        (json!({"body": "x".repeat(2_000_001)}), 413),
    ] {
        let answer = api.invoke(&event(changes)).await.unwrap();
        assert_eq!(answer["statusCode"], status, "{answer}");
        assert_eq!(answer["headers"]["content-type"], "application/problem+json");
    }
    assert!(messages(&vhost).await.is_empty());
    function.line("the event's body is not in base64").await;
    function.line("a REST API needs */* among its binaryMediaTypes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_paths_are_answered_behind_a_stage_and_for_a_load_balancer() {
    let (_vhost, api, _function) = function().await;
    for path in ["/", "/healthz", "/hooks", "/hooks/", "/hooks/api/healthz"] {
        let context = json!({"http": {"method": "GET"}, "stage": "hooks"});
        let answer = api.invoke(&event(json!({"rawPath": path, "requestContext": context}))).await.unwrap();
        assert_eq!(answer["statusCode"], 200, "{path}: {answer}");
    }
    let probe = json!({"requestContext": {"elb": {}}, "httpMethod": "GET", "path": "/", "headers": {}, "body": ""});
    assert_eq!(api.invoke(probe.to_string().as_bytes()).await.unwrap()["statusDescription"], "200 OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_away_is_503_and_no_failed_invocation() {
    let api = LambdaApi::start().await;
    let nobody = "amqp://u:s3cret@127.0.0.1:1/v";
    let function = Function::start(api.variables().into_iter().chain(variables(nobody)));
    let answer = api.invoke(&event(json!({}))).await.unwrap();
    assert_eq!((&answer["statusCode"], &answer["headers"]["retry-after"]), (&json!(503), &json!("1")));
    let line: Value = serde_json::from_str(&function.line("webhook not taken").await).unwrap();
    assert_eq!((&line["level"], &line["source.name"]), (&json!("ERROR"), &json!("shop")));
    assert!(line["span"]["requestId"].is_string(), "{line}");
    assert!(!function.log().contains("s3cret"));
}

/// Sixteen that wait for each other would take eight times as long as one may.
#[tokio::test(flavor = "multi_thread")]
async fn a_managed_instance_takes_several_webhooks_at_a_time() {
    const AT_A_TIME: usize = 16;
    let vhost = queue().await;
    let proxy = Proxy::start(vhost.amqp_addr()).await;
    let api = LambdaApi::start().await;
    let url = vhost.amqp_url_via(proxy.addr());
    let several = [("AWS_LAMBDA_MAX_CONCURRENCY", AT_A_TIME.to_string())];
    let _function = Function::start(api.variables().into_iter().chain(variables(&url)).chain(several));
    let webhook = event(json!({}));
    assert_eq!(api.invoke(&webhook).await.unwrap()["statusCode"], 200);
    proxy.stall();
    let began = Instant::now();
    let mut invocations = tokio::task::JoinSet::new();
    let api = std::sync::Arc::new(api);
    for _ in 0..AT_A_TIME {
        let (api, webhook) = (api.clone(), webhook.clone());
        invocations.spawn(async move { api.invoke(&webhook).await.unwrap()["statusCode"].clone() });
    }
    assert!(invocations.join_all().await.iter().all(|status| *status == 503));
    assert!(began.elapsed() < LATEST_ANSWER * 2, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stay_out_of_the_log_at_every_level() {
    let vhost = queue().await;
    let api = LambdaApi::start().await;
    let verbose = [("RUST_LOG", "trace,lapin=off".to_owned())];
    let all = api.variables().into_iter().chain(variables(&vhost.amqp_url())).chain(verbose);
    let function = Function::start(all);
    assert_eq!(api.invoke(&event(json!({"body": "s3cret"}))).await.unwrap()["statusCode"], 200);
    function.line("webhook taken").await;
    assert!(!function.log().contains("s3cret"), "{}", function.log());
}

#[tokio::test]
async fn a_wrong_configuration_ends_the_process_with_all_its_problems() {
    let wrong = [
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("QUEUE_URL", "sqlite:webhooks.db"),
        ("LISTEN", "0.0.0.0:80"),
        ("TRUSTED_PROXIES", "10.0.0.0/8"),
        ("PORT", "8080"),
        ("SOURCE_SHOP_ACESS_KEY", "s3cret"),
    ];
    let mut function = Function::start(wrong);
    assert_eq!(function.ended().await.code(), Some(2));
    function.line("SOURCE_SHOP_ACESS_KEY: is not a known variable: was SOURCE_SHOP_ACCESS_KEY meant?").await;
    let log = function.log();
    for problem in [
        "LISTEN: has no effect on AWS Lambda",
        "TRUSTED_PROXIES: has no effect on AWS Lambda",
        "QUEUE_URL: is a sqlite: queue, and a function's disk goes with it",
    ] {
        assert!(log.contains(problem), "{problem} is not in {log}");
    }
    assert!(!log.contains("s3cret") && !log.contains("PORT"), "{log}");
}

/// A small broker allows few connections: whose each of them is must be seen there.
#[tokio::test(flavor = "multi_thread")]
async fn an_execution_environment_has_one_connection_with_its_name() {
    const INSTANCE: &str = "2026/11/22/[1]0123456789abcdef";
    let (vhost, api) = (queue().await, LambdaApi::start().await);
    let instance = [("AWS_LAMBDA_LOG_STREAM_NAME", INSTANCE.to_owned())];
    let _function = Function::start(api.variables().into_iter().chain(variables(&vhost.amqp_url())).chain(instance));
    for _ in 0..5 {
        assert_eq!(api.invoke(&event(json!({}))).await.unwrap()["statusCode"], 200);
    }
    // The broker's figures are a few seconds old.
    let names = eventually("the connection is shown", PATIENCE, async || {
        let (_, connections) = vhost.api("GET", &format!("vhosts/{}/connections", vhost.name()), None).await;
        let names =
            connections.as_array()?.iter().map(|connection| &connection["client_properties"]["connection_name"]);
        let names: Vec<String> = names.filter_map(|name| Some(name.as_str()?.to_owned())).collect();
        (!names.is_empty()).then_some(names)
    });
    assert_eq!(names.await, [format!("_ publish ({INSTANCE})")]);
}
