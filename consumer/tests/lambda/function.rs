//! Through the real runtime loop: this test program, run again as a function.

use std::process::Stdio;

use serde_json::json;
use testbed::LambdaApi;
use testbed::sqs_event::{batch, failures};
use tokio::process::Command;

use crate::{Ran, consumer, variables};

const ROLE: &str = "LAMBDA_ROLE";
const URL: &str = "sqs+http://127.0.0.1:1/123456789012/my-queue";

/// Not a test of its own: what the other process runs.
#[test]
fn process() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(consumer(URL).run_on_lambda(Ran::default().router())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_answered_one_after_another() {
    let api = LambdaApi::start().await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "function::process"]).env_clear().env(ROLE, "function").envs(api.variables());
    let _function = command.envs(variables(URL)).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let event = batch("standard", &[("m1", "", "1"), ("m2", "", "fail"), ("m3", "", "3")]);
    for _ in 0..2 {
        assert_eq!(api.invoke(event.to_string().as_bytes()).await.unwrap(), failures(&["m2"]));
    }
    // What is no batch fails its invocation, and not the function.
    api.invoke(json!({"rawPath": "/"}).to_string().as_bytes()).await.unwrap_err();
    assert_eq!(api.invoke(event.to_string().as_bytes()).await.unwrap(), failures(&["m2"]));
}
