//! What a check finds through the management API, and the commands that mend it.

use http::Method;
use serde_json::{Map, Value, json};

use super::{ALARMS, Alarms, Client};
use crate::BoxError;
use crate::admin::{Level, Report};
use crate::config::QueueType;
use crate::env::written;
use crate::topology::Topology;

/// The command that declares what is missing.
pub(crate) const SETUP: &str = "webhook-forwarder setup";

/// What a setup did, a line each.
pub(crate) fn done(topology: &Topology) -> Vec<String> {
    let mut done = vec![
        format!("exchange '{}': direct, durable", topology.exchange),
        format!("queue '{}': durable, events wait up to {}", topology.queue, written(topology.ttl)),
    ];
    if topology.queue_type == QueueType::Quorum {
        done.push(format!("queue '{}': takes what nobody took in time", topology.dead_queue()));
    }
    done.push(match topology.binding_key() {
        Some(key) => format!("binding: routing key '{key}' leads to the queue"),
        None => format!(
            "no binding: the routing key '{}' varies with the event; bind the queue to each key that you expect",
            topology.routing_key
        ),
    });
    done
}

/// Looks at everything that AMQP does not show.
pub(crate) async fn look_closer(
    report: &mut Report,
    client: &Client,
    vhost: &str,
    topology: &Topology,
) -> Result<(), BoxError> {
    look_at_binding(report, client, vhost, topology).await?;
    let Some(queue) = client.get(&["queues", vhost, &topology.queue]).await? else {
        report.note(Level::Unchecked, "the management API does not show the queue to this user", None);
        return Ok(());
    };
    let policy = Policy::beside(client, &queue, vhost, topology).await?;
    look_at_queue(report, &queue, &policy, topology);
    look_at_dead_letters(report, client, &queue, &policy, topology).await?;
    look_at_alarms(report, client).await
}

async fn look_at_alarms(report: &mut Report, client: &Client) -> Result<(), BoxError> {
    let answer = client.ask(&Method::GET, &ALARMS, None).await?;
    match Alarms::read(&answer) {
        Alarms::None => report.note(Level::Good, "no memory or disk alarm", None),
        Alarms::InEffect(what) => report.note(Level::Warning, what, None),
        Alarms::NotTold => {
            report.note(Level::Unchecked, format!("memory and disk alarms: {}", answer.explain()), None);
        }
    }
    Ok(())
}

async fn look_at_binding(
    report: &mut Report,
    client: &Client,
    vhost: &str,
    topology: &Topology,
) -> Result<(), BoxError> {
    let bindings =
        client.get(&["bindings", vhost, "e", &topology.exchange, "q", &topology.queue]).await?.unwrap_or_default();
    let keys: Vec<&str> =
        bindings.as_array().into_iter().flatten().filter_map(|binding| binding["routing_key"].as_str()).collect();
    match topology.binding_key() {
        Some(key) if keys.contains(&key) => report.note(Level::Good, format!("routing key '{key}' is bound"), None),
        Some(key) => {
            report.note(
                Level::Failure,
                format!("routing key '{key}' is not bound: nothing is routed"),
                Some(SETUP.to_owned()),
            );
        }
        None => report.note(
            Level::Unchecked,
            format!("the routing key '{}' varies; bound are: {}", topology.routing_key, keys.join(", ")),
            None,
        ),
    }
    Ok(())
}

fn look_at_queue(report: &mut Report, queue: &Value, policy: &Policy, topology: &Topology) {
    let remake = || Some(format!("empty and delete the queue, then {SETUP}"));
    match queue["durable"].as_bool() {
        Some(true) => report.note(Level::Good, "durable", None),
        _ => report.note(
            Level::Warning,
            "not durable: a restart of the broker deletes the queue and all events",
            remake(),
        ),
    }
    if queue["auto_delete"].as_bool() == Some(true) {
        report.note(Level::Warning, "auto-delete: the queue and its events go when its last consumer does", remake());
    }
    if let Some(expires) = setting(queue, "expires") {
        report.note(
            Level::Warning,
            format!("the queue deletes itself, events and all, after {expires} ms unused"),
            remake(),
        );
    }
    match ttl(queue) {
        Some(ttl) if ttl < topology.ttl.as_millis() => {
            let what = format!("events live {ttl} ms, less than the {} ms of QUEUE_TTL", topology.ttl.as_millis());
            let by_policy = queue["arguments"]["x-message-ttl"].as_u64().map(u128::from) != Some(ttl);
            let wanted = u64::try_from(topology.ttl.as_millis()).unwrap_or(u64::MAX);
            let mend = if by_policy { Some(policy.with(json!({"message-ttl": wanted}))) } else { remake() };
            report.note(Level::Warning, what, mend);
        }
        Some(ttl) => report.note(Level::Good, format!("TTL {ttl} ms"), None),
        None => report.note(Level::Good, "no TTL: events wait for ever", None),
    }
    look_at_overflow(report, queue, policy);
}

/// Whether what expires has somewhere to go.
async fn look_at_dead_letters(
    report: &mut Report,
    client: &Client,
    queue: &Value,
    policy: &Policy,
    topology: &Topology,
) -> Result<(), BoxError> {
    let vhost = &policy.vhost;
    let target = match setting(queue, "dead-letter-exchange").and_then(Value::as_str) {
        Some("") => {
            let key = setting(queue, "dead-letter-routing-key").and_then(Value::as_str);
            ["queues", vhost, key.unwrap_or(&topology.routing_key)].map(str::to_owned)
        }
        Some(exchange) => ["exchanges", vhost, exchange].map(str::to_owned),
        None if ttl(queue).is_some() => {
            note_vanishing(report, topology, "because it has no dead-letter target", policy);
            ["queues", vhost, &topology.dead_queue()].map(str::to_owned)
        }
        None => return Ok(()),
    };
    let [kind, _, name] = &target;
    if client.get(&target.each_ref().map(String::as_str)).await?.is_none() {
        let what = format!("'{name}' among the {kind} is to take dead letters and does not exist: they vanish");
        report.note(
            Level::Warning,
            what,
            Some(format!("start a consumer once: it declares '{}'", topology.dead_queue())),
        );
    } else if setting(queue, "dead-letter-exchange").is_some() {
        report.note(Level::Good, format!("what expires becomes a dead letter, for '{name}'"), None);
    }
    Ok(())
}

/// How long events wait at most, in milliseconds: of an argument and a policy the shorter time holds.
fn ttl(queue: &Value) -> Option<u128> {
    let both = [&queue["arguments"]["x-message-ttl"], &queue["effective_policy_definition"]["message-ttl"]];
    both.into_iter().filter_map(Value::as_u64).map(u128::from).min()
}

fn look_at_overflow(report: &mut Report, queue: &Value, policy: &Policy) {
    let limited = setting(queue, "max-length").is_some() || setting(queue, "max-length-bytes").is_some();
    let rejects =
        setting(queue, "overflow").and_then(Value::as_str).is_some_and(|policy| policy.starts_with("reject-publish"));
    match (limited, rejects) {
        (false, _) => report.note(Level::Good, "no length limit", None),
        (true, true) => {
            report.note(Level::Good, "a length limit, and what exceeds it is refused (reject-publish)", None)
        }
        (true, false) => report.note(
            Level::Warning,
            "a length limit with drop-head: when full, the queue confirms new events and throws the oldest away",
            Some(policy.with(json!({"overflow": "reject-publish"}))),
        ),
    }
}

/// What waits among the dead letters.
pub(crate) fn note_dead_letters(report: &mut Report, topology: &Topology, waiting: u64) {
    if waiting > 0 {
        report.note(Level::Warning, format!("{waiting} dead letters wait in '{}'", topology.dead_queue()), None);
    }
}

/// What is missing, and the command that makes it.
pub(crate) fn note_missing(report: &mut Report, name: &str, reason: &str) {
    report.note(Level::Failure, format!("'{name}' is missing: {reason}"), Some(SETUP.to_owned()));
}

/// As [`note_vanishing`], for somebody who does not see the queue's policy.
#[cfg(feature = "rabbitmq")]
pub(crate) fn note_vanishing_perhaps(report: &mut Report, topology: &Topology, vhost: &str) {
    let policy = Policy::new(vhost, topology);
    note_vanishing(report, topology, "unless a policy gives the queue a dead-letter target", &policy);
}

/// The guide's own queue: whatever nobody takes in time is gone.
fn note_vanishing(report: &mut Report, topology: &Topology, unless: &str, policy: &Policy) {
    let ttl = written(topology.ttl);
    let dead_letters = json!({"dead-letter-exchange": "", "dead-letter-routing-key": topology.dead_queue()});
    report.note(
        Level::Warning,
        format!("events older than {ttl} vanish from the queue, {unless}"),
        Some(policy.with(dead_letters)),
    );
}

/// The one policy that is in effect for a queue: whatever is added must hold all that the one before says.
struct Policy {
    vhost: String,
    queue: String,
    definition: Map<String, Value>,
    priority: i64,
}

impl Policy {
    fn new(vhost: &str, topology: &Topology) -> Policy {
        Policy { vhost: vhost.to_owned(), queue: topology.queue.clone(), definition: Map::new(), priority: 0 }
    }

    /// One that holds what is in effect, and wins over it.
    async fn beside(client: &Client, queue: &Value, vhost: &str, topology: &Topology) -> Result<Policy, BoxError> {
        let mut policy = Policy::new(vhost, topology);
        policy.definition = queue["effective_policy_definition"].as_object().cloned().unwrap_or_default();
        if let Some(name) = queue["policy"].as_str() {
            let present = client.get(&["policies", vhost, name]).await?.unwrap_or_default();
            let priority = present["priority"].as_i64().unwrap_or(0);
            policy.priority = if name == policy.queue { priority } else { priority + 1 };
        }
        Ok(policy)
    }

    /// The command that sets this policy with the queue's whole mend in it.
    fn with(&self, mend: Value) -> String {
        let mut definition = self.definition.clone();
        definition.extend(mend.as_object().cloned().unwrap_or_default());
        let Policy { vhost, queue, priority, .. } = self;
        format!(
            "rabbitmqctl set_policy -p '{vhost}' '{queue}' '^{}$' '{}' --apply-to queues --priority {priority}",
            queue.replace('.', r"\."),
            Value::Object(definition),
        )
    }
}

/// A setting of the queue, by argument or by policy.
fn setting<'a>(queue: &'a Value, name: &str) -> Option<&'a Value> {
    [&queue["arguments"][format!("x-{name}")], &queue["effective_policy_definition"][name]]
        .into_iter()
        .find(|value| !value.is_null())
}
