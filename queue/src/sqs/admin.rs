//! `setup` and `check`.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::MAX_MESSAGE_BYTES;
use super::client::{Client, explain};
use super::take::{Taker, attributes};
use crate::env::written;
use crate::publish::PublishError;
use crate::{BoxError, Level, QueueConfig, Report, chain};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// SQS keeps nothing for longer.
pub(super) const LONGEST_RETENTION: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// No broker should be away for longer. An event that waits must not become a dead letter before.
const LONG_OUTAGE: Duration = Duration::from_secs(6 * 60 * 60);
/// The most that a redrive policy can say.
const MOST_RECEIVES: u32 = 1000;
/// SQS keeps nothing for less.
const SHORTEST_RETENTION: Duration = Duration::from_secs(60);

/// Makes the queue, that for its dead letters and that for notes on suspects, unless they are there.
pub(crate) async fn setup(config: &QueueConfig, url: &str) -> Result<Vec<String>, BoxError> {
    let main = Client::new(config, url)?;
    let [dead, suspects] = [main.address.dead(), main.address.suspects()].map(|address| main.with(address));
    let mut done = vec![make_unless_there(&dead, LONGEST_RETENTION, None).await?];
    let target = attributes(&dead, vec![QueueAttributeName::QueueArn]).await?.remove(&QueueAttributeName::QueueArn);
    let policy = json!({"deadLetterTargetArn": target, "maxReceiveCount": MOST_RECEIVES});
    done.push(make_unless_there(&main, retention(config.ttl), Some(policy)).await?);
    done.push(make_unless_there(&suspects, LONGEST_RETENTION, None).await?);
    Ok(done)
}

async fn make_unless_there(client: &Client, retention: Duration, policy: Option<Value>) -> Result<String, BoxError> {
    let name = &client.address.name;
    match attributes(client, vec![QueueAttributeName::QueueArn]).await {
        Ok(_) => return Ok(format!("queue {name}: is there already")),
        Err(PublishError::Unroutable(_)) => {}
        Err(error) => return Err(error.into()),
    }
    make(client, retention, policy).await?;
    Ok(format!("queue {name}: made, keeps messages for {}", written(retention)))
}

/// Makes a queue. One that is there with these settings is left as it is.
pub(super) async fn make(client: &Client, retention: Duration, policy: Option<Value>) -> Result<(), BoxError> {
    let (name, account) = (&client.address.name, &client.address.account);
    let mut request = client
        .sdk
        .create_queue()
        .queue_name(name)
        .attributes(QueueAttributeName::MessageRetentionPeriod, retention.as_secs().to_string())
        .attributes(QueueAttributeName::MaximumMessageSize, MAX_MESSAGE_BYTES.to_string());
    if let Some(policy) = policy {
        request = request.attributes(QueueAttributeName::RedrivePolicy, policy.to_string());
    }
    if client.address.is_fifo() {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    let deadline = Client::until(Instant::now() + CALL_TIMEOUT);
    let made = request.customize().config_override(deadline).send().await.map_err(explain)?;
    if !made.queue_url.as_deref().unwrap_or_default().ends_with(&format!("/{account}/{name}")) {
        return Err(format!(
            "queue {name}: the credentials belong to another account than {account}, and the queue was made there"
        )
        .into());
    }
    Ok(())
}

fn retention(ttl: Duration) -> Duration {
    ttl.clamp(SHORTEST_RETENTION, LONGEST_RETENTION)
}

/// Looks at the queue.
pub(crate) async fn check(config: &QueueConfig, url: &str) -> Report {
    let mut report = Report::default();
    if let Err(error) = look(&mut report, config, url).await {
        let mend = matches!(error.downcast_ref(), Some(PublishError::Unroutable(_)));
        let mend = mend.then(|| "webhook-forwarder setup".to_owned());
        report.note(Level::Failure, format!("queue: {}", chain(&*error)), mend);
    }
    report
}

async fn look(report: &mut Report, config: &QueueConfig, url: &str) -> Result<(), BoxError> {
    let client = Client::new(config, url)?;
    let name = &client.address.name;
    let found = attributes(&client, vec![QueueAttributeName::All]).await?;
    let number = |name: QueueAttributeName| found.get(&name).and_then(|value| value.parse::<u64>().ok());
    let set = |attribute: &str, value: String| {
        Some(format!("aws sqs set-queue-attributes --queue-url {url} --attributes {attribute}={value}"))
    };
    report.note(Level::Good, format!("queue {name}: is there, and may be asked"), None);
    report.note(Level::Unchecked, format!("queue {name}: whether it may be sent to cannot be seen from here"), None);

    let kept = Duration::from_secs(number(QueueAttributeName::MessageRetentionPeriod).unwrap_or_default());
    let wanted = retention(config.ttl);
    if kept < wanted {
        let what = format!(
            "retention: {}; SQS deletes what nobody took for that long, earlier than QUEUE_TTL ({})",
            written(kept),
            written(config.ttl)
        );
        report.note(Level::Warning, what, set("MessageRetentionPeriod", wanted.as_secs().to_string()));
    } else {
        report.note(Level::Good, format!("retention: {}", written(kept)), None);
    }
    let largest = number(QueueAttributeName::MaximumMessageSize).unwrap_or_default();
    if largest < MAX_MESSAGE_BYTES as u64 {
        let what = format!("message size: {largest} bytes; larger events are refused");
        report.note(Level::Warning, what, set("MaximumMessageSize", MAX_MESSAGE_BYTES.to_string()));
    } else {
        report.note(Level::Good, format!("message size: {largest} bytes"), None);
    }
    let lease = Duration::from_secs(number(QueueAttributeName::VisibilityTimeout).unwrap_or_default());
    dead_letters(report, found.get(&QueueAttributeName::RedrivePolicy), lease);
    let waiting = number(QueueAttributeName::ApproximateNumberOfMessages).unwrap_or_default();
    let held = number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible).unwrap_or_default();
    report.note(Level::Good, format!("events: about {waiting} waiting, {held} held"), None);
    count_dead_letters(report, &client).await;
    Ok(())
}

async fn count_dead_letters(report: &mut Report, main: &Client) {
    let dead = Taker { client: main.with(main.address.dead()) };
    let name = &dead.client.address.name;
    let (level, what) = match dead.count().await {
        Ok(0) => (Level::Good, format!("none in {name}")),
        Ok(count) => (Level::Warning, format!("about {count} in {name}")),
        Err(PublishError::Unroutable(_)) => (Level::Good, format!("none; a consumer makes {name} when it needs it")),
        Err(error) => (Level::Unchecked, format!("{name} cannot be asked: {}", chain(&error))),
    };
    report.note(level, format!("dead letters: {what}"), None);
}

/// A drain that the queue triggers takes each message again and again while the first queue is away.
fn dead_letters(report: &mut Report, policy: Option<&String>, lease: Duration) {
    let Some(policy) = policy.and_then(|policy| serde_json::from_str::<Value>(policy).ok()) else {
        let what = "dead letters: have no queue; a message that cannot be read is tried until it expires";
        let mend = "give it one of the same kind in a redrive policy, as the template in infra/aws does";
        report.note(Level::Warning, what, Some(mend.to_owned()));
        return;
    };
    let count = &policy["maxReceiveCount"];
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or_default();
    let outage = lease.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
    if outage < LONG_OUTAGE {
        let what = format!(
            "dead letters: a message becomes one when it was received {count} times; if a function drains the queue, \
             that is after the first queue was away for {}",
            written(outage)
        );
        let mend = format!("set maxReceiveCount in its redrive policy to {MOST_RECEIVES}");
        report.note(Level::Warning, what, Some(mend));
    } else {
        report.note(Level::Good, format!("dead letters: have a queue, after {count} receives"), None);
    }
}
