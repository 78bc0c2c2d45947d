//! `setup` and `check`.

use http::Method;
use serde_json::{Value, json};

use super::publish::client;
use crate::BoxError;
use crate::admin::{Level, Report};
use crate::broker::{Client, dead_queue, done, look_closer, main_queue, note_dead_letters, note_missing};
use crate::config::{QueueConfig, QueueType};
use crate::publish_url::PublishUrl;
use crate::topology::Topology;

/// Declares exchange, queue and binding.
pub(crate) async fn setup(config: &QueueConfig, url: &PublishUrl) -> Result<Vec<String>, BoxError> {
    let (topology, client, vhost) = (Topology::new(config), client(config, url, 1)?, url.vhost());
    let Topology { exchange, queue, .. } = &topology;
    let direct = json!({"type": "direct", "durable": true, "auto_delete": false, "internal": false});
    declare(&client, &Method::PUT, &["exchanges", vhost, exchange], direct).await?;
    let durable = |arguments| json!({"durable": true, "auto_delete": false, "arguments": Value::Object(arguments)});
    declare(&client, &Method::PUT, &["queues", vhost, queue], durable(main_queue(&topology))).await?;
    if topology.queue_type == QueueType::Quorum {
        declare(&client, &Method::PUT, &["queues", vhost, &topology.dead_queue()], durable(dead_queue())).await?;
    }
    if let Some(key) = topology.binding_key() {
        let binding = ["bindings", vhost, "e", exchange, "q", queue];
        declare(&client, &Method::POST, &binding, json!({"routing_key": key, "arguments": {}})).await?;
    }
    Ok(done(&topology))
}

async fn declare(client: &Client, method: &Method, segments: &[&str], body: Value) -> Result<(), BoxError> {
    let answer = client.ask(method, segments, Some(&body)).await?;
    let name = segments.last().copied().unwrap_or_default();
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reason = said["reason"].as_str().unwrap_or("no reason given");
    match answer.status {
        200..300 => Ok(()),
        400 if reason.starts_with("inequivalent") => {
            Err(format!("'{name}' exists, and is not as configured: {reason}").into())
        }
        _ => Err(format!("'{name}' cannot be declared: {} ({reason})", answer.explain()).into()),
    }
}

/// Looks at everything that could lose an event.
pub(crate) async fn check(config: &QueueConfig, url: &PublishUrl) -> Report {
    let mut report = Report::default();
    let looked = match client(config, url, 1) {
        Ok(client) => look(&mut report, &Topology::new(config), &client, url).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = looked {
        report.note(Level::Failure, format!("the check could not be finished: {}", crate::chain(&*error)), None);
    }
    report
}

async fn look(report: &mut Report, topology: &Topology, client: &Client, url: &PublishUrl) -> Result<(), BoxError> {
    let vhost = url.vhost();
    let mut missing = false;
    for (kind, name) in [("exchange", &topology.exchange), ("queue", &topology.queue)] {
        let found = client.get(&[&format!("{kind}s"), vhost, name]).await?;
        if kind == "exchange" {
            report.note(Level::Good, format!("reachable: {url}"), None);
        }
        if found.is_none() {
            missing = true;
            note_missing(report, name, &format!("there is no such {kind} in virtual host '{vhost}'"));
        }
    }
    if missing {
        return Ok(());
    }
    report.note(Level::Good, format!("exchange '{}' and queue '{}' exist", topology.exchange, topology.queue), None);
    look_closer(report, client, vhost, topology).await?;
    let dead = client.get(&["queues", vhost, &topology.dead_queue()]).await?.unwrap_or_default();
    note_dead_letters(report, topology, dead["messages_ready"].as_u64().unwrap_or(0));
    Ok(())
}
