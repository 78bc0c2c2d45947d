//! `infra/rabbitmq/definitions.json`, imported into a virtual host that somebody else made.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Broker, Vhost, eventually, in_time, run, versions};
use webhook_queue::{Event, Level, Publish, Publisher, Settlement, State, Subscribe, Subscriber, check};

use super::{config, next, soon};

const DEFINITIONS: &str = include_str!("../../../infra/rabbitmq/definitions.json");
const QUEUE: &str = "e-conomic-webhooks";

/// Imports as the README's curl does.
async fn import(vhost: &Vhost) -> Value {
    let definitions: Value = serde_json::from_str(DEFINITIONS).unwrap();
    let (status, answer) = vhost.api("POST", &format!("definitions/{}", vhost.name()), Some(definitions.clone())).await;
    assert!((200..300).contains(&status), "{status} {answer}");
    definitions
}

/// Each queue of a virtual host with its arguments.
async fn queues(vhost: &Vhost) -> Vec<(Value, Value)> {
    let (_, queues) = vhost.api("GET", &format!("queues/{}", vhost.name()), None).await;
    let mut queues: Vec<_> =
        queues.as_array().unwrap().iter().map(|queue| (queue["name"].clone(), queue["arguments"].clone())).collect();
    queues.sort_by_key(|(name, _)| name.to_string());
    queues
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_passes_every_check() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        import(&vhost).await;
        let mut config = config(&vhost.amqp_url());
        config.management_url = Some(vhost.management_url().into());
        let report = eventually("the policy is in effect", Duration::from_secs(10), async || {
            Some(check(&config).await).filter(|report| report.to_string().contains("becomes a dead letter"))
        })
        .await;
        assert!(report.findings.iter().all(|finding| finding.level == Level::Good), "{version:?}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_is_what_a_consumer_declares() {
    for version in versions() {
        let broker = Broker::shared(version).await;
        let (imported, declared) = (broker.vhost().await, broker.vhost().await);
        import(&imported).await;
        for vhost in [&imported, &declared] {
            let config = config(&vhost.amqp_url());
            let mut subscriber = Subscriber::open(&config, 10).unwrap();
            let mut state = subscriber.state();
            drop(in_time("it receives", state.wait_for(|state| *state == State::Receiving)).await.unwrap());
            let publisher = Publisher::open(&config).unwrap();
            publisher.publish(&Event::new("e-conomic", "x", "1"), soon()).await.unwrap();
            in_time("the settlement", next(&mut subscriber).await.settle(Settlement::Ack)).await.unwrap();
        }
        assert_eq!(queues(&imported).await, queues(&declared).await, "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_in_the_guides_queue_becomes_a_dead_letter() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        import(&vhost).await;
        eventually("the policy is in effect", Duration::from_secs(10), async || {
            vhost.queue(QUEUE).await.filter(|queue| queue["policy"] == QUEUE)
        })
        .await;
        assert!(vhost.publish("e-conomic.direct", "webhook", json!({"expiration": "1"}), b"late").await);
        let dead = eventually("the expired event is a dead letter", Duration::from_secs(10), async || {
            vhost.get(&format!("{QUEUE}.dead")).await
        })
        .await;
        assert_eq!(dead["properties"]["headers"]["x-death"][0]["reason"], "expired");
    }
}

/// A customer of a shared broker is no administrator, so the broker's own import is closed to them.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_administrator_the_same_is_made_one_by_one() {
    for version in versions() {
        let broker = Broker::shared(version).await;
        let (imported, made) = (broker.vhost().await, broker.vhost().await);
        import(&imported).await;
        let user = format!("customer-of-{}", made.name());
        let rights = json!({"configure": ".*", "write": ".*", "read": ".*"});
        made.api("PUT", &format!("users/{user}"), Some(json!({"password": "pw", "tags": "management"}))).await;
        made.api("PUT", &format!("permissions/{}/{user}", made.name()), Some(rights)).await;
        let (done, said) = run_import(broker, &made, &user).await;
        assert!(!done && said.contains("refused    policy"), "{version:?}: {said}");
        assert_eq!(queues(&made).await, queues(&imported).await, "{version:?}");

        made.api("PUT", &format!("users/{user}"), Some(json!({"password": "pw", "tags": "policymaker"}))).await;
        let (done, said) = run_import(broker, &made, &user).await;
        assert!(done, "{version:?}: {said}");
        let mut config = config(&made.amqp_url());
        config.management_url = Some(made.management_url().into());
        eventually("everything is as it should be", Duration::from_secs(10), async || {
            check(&config).await.findings.iter().all(|finding| finding.level == Level::Good).then_some(())
        })
        .await;
    }
}

/// Whether `infra/rabbitmq/import` did it all, and what it said.
async fn run_import(broker: &Broker, vhost: &Vhost, user: &str) -> (bool, String) {
    let url = format!("http://{user}:pw@{}", broker.management_addr());
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/rabbitmq/import");
    let output = run(Command::new(program).arg(vhost.name()).env("QUEUE_MANAGEMENT_URL", url));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn nothing_is_imported_that_belongs_to_a_whole_broker() {
    let definitions: Value = serde_json::from_str(DEFINITIONS).unwrap();
    let mut parts: Vec<&str> = definitions.as_object().unwrap().keys().map(String::as_str).collect();
    parts.sort_unstable();
    assert_eq!(parts, ["bindings", "exchanges", "policies", "queues"]);
    assert!(!DEFINITIONS.contains("\"vhost\""));
}
