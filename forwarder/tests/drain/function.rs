//! The function that an SQS queue triggers, through the real runtime loop.

use std::collections::HashSet;
use std::process::Stdio;

use serde_json::{Value, json};
use testbed::sqs_event::{batch, documented, failures};
use testbed::{LambdaApi, SqsQueue};
use tokio::process::{Child, Command};

use crate::stage::Stage;

const UNREADABLE: &str = "Test message.";

pub(crate) struct Drain {
    api: LambdaApi,
    _function: Child,
}

impl Drain {
    pub(crate) async fn start(stage: &Stage) -> Drain {
        let api = LambdaApi::start().await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_webhook-forwarder"));
        command.env_clear().envs(stage.variables()).envs(api.variables()).env("_HANDLER", "drain");
        let function = command.stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        Drain { api, _function: function }
    }

    pub(crate) async fn answers(&self, event: &Value) -> Value {
        self.api.invoke(event.to_string().as_bytes()).await.unwrap()
    }
}

/// What lies on SQS for events that are published there: ids and bodies.
async fn bodies(stage: &Stage, queue: &SqsQueue<'_>, events: usize) -> Vec<(String, String)> {
    stage.fill(events).await;
    let body = |message: &Value| {
        let body = message["Body"].as_str().unwrap();
        let id = serde_json::from_str::<Value>(body).unwrap()["id"].as_str().unwrap().to_owned();
        (id, body.to_owned())
    };
    queue.take_all().await.iter().map(body).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_moved_and_what_is_no_event_is_reported() {
    let (stage, queue) = Stage::with_sqs(false).await;
    let drain = Drain::start(&stage).await;
    let ids = ["059f36b4-87a3-44ab-83d2-661975830a7d", "2e1424d4-f796-459a-8184-9c92662be6da"];
    assert_eq!(drain.answers(&documented("standard")).await, failures(&ids));

    let events = bodies(&stage, &queue, 2).await;
    let all = batch("standard", &[("m1", "", &events[0].1), ("m2", "", UNREADABLE), ("m3", "", &events[1].1)]);
    assert_eq!(drain.answers(&all).await, failures(&["m2"]));
    let found: HashSet<String> = stage.take().await.into_iter().map(|event| event.id).collect();
    assert_eq!(found, events.into_iter().map(|(id, _)| id).collect());
    assert_eq!(drain.answers(&json!({"Records": []})).await, failures(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_stops_at_its_first_failure() {
    let (stage, queue) = Stage::with_sqs(false).await;
    let drain = Drain::start(&stage).await;
    let events = bodies(&stage, &queue, 4).await;
    let all = [
        ("a1", "a", &*events[0].1),
        ("b1", "b", &*events[1].1),
        ("a2", "a", UNREADABLE),
        ("a3", "a", &*events[2].1),
        ("b2", "b", &*events[3].1),
    ];
    assert_eq!(drain.answers(&batch("fifo", &all)).await, failures(&["a2", "a3"]));
    let found: HashSet<String> = stage.take().await.into_iter().map(|event| event.id).collect();
    assert_eq!(found, [0, 1, 3].map(|place| events[place].0.clone()).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_stays_while_the_broker_is_away() {
    let (stage, queue) = Stage::with_sqs(false).await;
    let drain = Drain::start(&stage).await;
    let events = bodies(&stage, &queue, 2).await;
    let all = batch("standard", &[("m1", "", &events[0].1), ("m2", "", &events[1].1)]);
    stage.proxy.cut();
    assert_eq!(drain.answers(&all).await, failures(&["m1", "m2"]));
    stage.proxy.heal();
    assert_eq!(drain.answers(&all).await, failures(&[]));
    assert_eq!(stage.take().await.len(), 2);
    assert_eq!(queue.count().await, 0, "it publishes to no fallback");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_batch_fails_its_invocation() {
    let (stage, _) = Stage::with_sqs(false).await;
    let drain = Drain::start(&stage).await;
    drain.api.invoke(br#"{"version":"2.0","rawPath":"/"}"#).await.unwrap_err();
}
