//! `setup` and `check`.

use lapin::Connection;
use serde_json::{Map, Value, json};

use super::management::Management;
use super::topology::{self, Mode, count};
use super::transport::Dialer;
use crate::BoxError;
use crate::admin::{Level, Report};
use crate::config::{QueueConfig, QueueType};
use crate::env::written;
use crate::topology::Topology;

const SETUP: &str = "webhook-forwarder setup";

/// Declares exchange, queue and binding.
pub(crate) async fn setup(config: &QueueConfig) -> Result<Vec<String>, BoxError> {
    let topology = Topology::new(config);
    let dialer = Dialer::new(config)?;
    let dialed = dialer.dial("webhook-forwarder setup").await?;
    let declared = async {
        let mut mismatches = topology::intake(&dialed.connection, &topology, Mode::Declare).await?;
        mismatches.extend(topology::bind(&dialed.connection, &topology).await?);
        Ok::<_, BoxError>(mismatches)
    };
    let mismatches = declared.await;
    dialed.close().await;
    if let Some(mismatch) = mismatches?.into_iter().next() {
        return Err(format!("'{}' exists, and is not as configured: {}", mismatch.name, mismatch.reason).into());
    }
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
    Ok(done)
}

/// Looks at everything that could lose an event.
pub(crate) async fn check(config: &QueueConfig) -> Report {
    let mut report = Report::default();
    let dialed = match Dialer::new(config) {
        Ok(dialer) => dialer.dial("webhook-forwarder check").await,
        Err(error) => Err(error.into()),
    };
    match dialed {
        Err(error) => report.note(Level::Failure, format!("not reachable: {error}"), None),
        Ok(dialed) => {
            report.note(Level::Good, format!("reachable: {}", config.url.redacted()), None);
            if let Err(error) = look(&mut report, config, &dialed.connection).await {
                report.note(Level::Failure, format!("the check could not be finished: {error}"), None);
            }
            dialed.close().await;
        }
    }
    report
}

async fn look(report: &mut Report, config: &QueueConfig, connection: &Connection) -> Result<(), BoxError> {
    let topology = Topology::new(config);
    let missing = topology::intake(connection, &topology, Mode::Verify).await?;
    for mismatch in &missing {
        report.note(
            Level::Failure,
            format!("'{}' is missing: {}", mismatch.name, mismatch.reason),
            Some(SETUP.to_owned()),
        );
    }
    if !missing.is_empty() {
        return Ok(());
    }
    report.note(Level::Good, format!("exchange '{}' and queue '{}' exist", topology.exchange, topology.queue), None);
    match &config.management_url {
        Some(url) => {
            let management = Management::new(url)?;
            look_closer(report, &management, &vhost(connection), &topology).await?;
        }
        None => look_through_amqp(report, connection, &topology).await?,
    }
    if let Some(waiting) = count(connection, &topology.dead_queue()).await?.filter(|waiting| *waiting > 0) {
        report.note(Level::Warning, format!("{waiting} dead letters wait in '{}'", topology.dead_queue()), None);
    }
    Ok(())
}

/// Declaring what exists changes nothing, and the broker says which argument differs.
async fn look_through_amqp(report: &mut Report, connection: &Connection, topology: &Topology) -> Result<(), BoxError> {
    let mismatches = topology::intake(connection, topology, Mode::Declare).await?;
    for mismatch in &mismatches {
        report.note(Level::Warning, format!("'{}' is not as configured: {}", mismatch.name, mismatch.reason), None);
    }
    if mismatches.is_empty() {
        report.note(Level::Good, "durable, with the configured TTL", None);
        if topology.queue_type == QueueType::Classic {
            let policy = Policy::new(&vhost(connection), topology);
            note_vanishing(report, topology, "unless a policy gives the queue a dead-letter target", &policy);
        }
    }
    let hint = Some("set QUEUE_MANAGEMENT_URL to https://user:password@host and check again".to_owned());
    let unseen = "binding, policies (dead-letter target, length limit, overflow) and alarms: AMQP does not show them";
    report.note(Level::Unchecked, unseen, hint);
    Ok(())
}

async fn look_closer(
    report: &mut Report,
    management: &Management,
    vhost: &str,
    topology: &Topology,
) -> Result<(), BoxError> {
    look_at_binding(report, management, vhost, topology).await?;
    let Some(queue) = management.get(&["queues", vhost, &topology.queue]).await? else {
        report.note(Level::Unchecked, "the management API does not show the queue to this user", None);
        return Ok(());
    };
    let policy = Policy::beside(management, &queue, vhost, topology).await?;
    look_at_queue(report, &queue, &policy, topology);
    look_at_dead_letters(report, management, &queue, &policy, topology).await?;
    match management.get(&["health", "checks", "alarms"]).await {
        Ok(_) => report.note(Level::Good, "no memory or disk alarm", None),
        Err(error) => report.note(Level::Warning, format!("an alarm may be in effect: {error}"), None),
    }
    Ok(())
}

async fn look_at_binding(
    report: &mut Report,
    management: &Management,
    vhost: &str,
    topology: &Topology,
) -> Result<(), BoxError> {
    let bindings =
        management.get(&["bindings", vhost, "e", &topology.exchange, "q", &topology.queue]).await?.unwrap_or_default();
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
    management: &Management,
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
    if management.get(&target.each_ref().map(String::as_str)).await?.is_none() {
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
    async fn beside(
        management: &Management,
        queue: &Value,
        vhost: &str,
        topology: &Topology,
    ) -> Result<Policy, BoxError> {
        let mut policy = Policy::new(vhost, topology);
        policy.definition = queue["effective_policy_definition"].as_object().cloned().unwrap_or_default();
        if let Some(name) = queue["policy"].as_str() {
            let present = management.get(&["policies", vhost, name]).await?.unwrap_or_default();
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

fn vhost(connection: &Connection) -> String {
    connection.status().vhost().as_str().to_owned()
}
