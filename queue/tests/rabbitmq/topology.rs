//! The guide's topology, made by hand or by us.

use std::time::Duration;

use serde_json::json;
use testbed::{Broker, Version, Vhost, eventually, in_time};
use webhook_queue::{
    Event, Level, Publish, PublishError, Publisher, QueueType, Readiness, Settlement, State, Subscribe, Subscriber,
    check, setup,
};

use super::{config, next, soon};

async fn vhost() -> Vhost {
    Broker::shared(Version::V3).await.vhost().await
}

/// Exchange, queue and binding as the guide has its readers click them together.
async fn make_by_hand(vhost: &Vhost, arguments: serde_json::Value) {
    vhost.declare_exchange("e-conomic.direct", "direct").await;
    vhost.declare_queue("e-conomic-webhooks", arguments).await;
    vhost.bind("e-conomic.direct", "e-conomic-webhooks", "webhook").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_made_by_hand_from_the_guide_works_unchanged() {
    let vhost = vhost().await;
    make_by_hand(&vhost, json!({"x-message-ttl": 604_800_000})).await;
    let before = vhost.queue("e-conomic-webhooks").await.unwrap()["arguments"].clone();
    let config = config(&vhost.amqp_url());
    let publisher = Publisher::open(&config).unwrap();
    let mut subscriber = Subscriber::open(&config, 10).unwrap();
    publisher.publish(&Event::new("e-conomic", "x", "1"), soon()).await.unwrap();
    in_time("the settlement", next(&mut subscriber).await.settle(Settlement::Ack)).await.unwrap();
    assert_eq!(vhost.queue("e-conomic-webhooks").await.unwrap()["arguments"], before);
    assert!(check(&config).await.passed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mismatching_queue_is_named_with_its_argument_and_consuming_goes_on() {
    let vhost = vhost().await;
    make_by_hand(&vhost, json!({"x-message-ttl": 1_000_000})).await;
    let config = config(&vhost.amqp_url());
    let log = super::log::capture();
    let publisher = Publisher::open(&config).unwrap();
    let mut subscriber = Subscriber::open(&config, 10).unwrap();
    publisher.publish(&Event::new("e-conomic", "x", "1"), soon()).await.unwrap();
    in_time("the settlement", next(&mut subscriber).await.settle(Settlement::Ack)).await.unwrap();
    let line = format!("vhost '{}'", vhost.name());
    let text = log.lines_with(&line).join("\n");
    assert!(text.contains("ERROR") && text.contains("x-message-ttl"), "{text}");
    let report = check(&config).await;
    assert!(report.passed() && report.to_string().contains("x-message-ttl"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_makes_exactly_the_guides_topology() {
    let vhost = vhost().await;
    let config = config(&vhost.amqp_url());
    let publisher = Publisher::open(&config).unwrap();
    let before = publisher.publish(&Event::new("e-conomic", "x", "1"), soon()).await.unwrap_err();
    assert!(matches!(before, PublishError::Unroutable(_)), "{before}");
    assert!(before.to_string().contains("webhook-forwarder setup"), "{before}");
    assert!(matches!(publisher.readiness(), Readiness::NotReady(_)));

    setup(&config).await.unwrap();
    let queue = vhost.queue("e-conomic-webhooks").await.unwrap();
    assert_eq!(queue["arguments"], json!({"x-message-ttl": 604_800_000}));
    assert_eq!((&queue["durable"], &queue["auto_delete"]), (&json!(true), &json!(false)));
    let (_, exchange) = vhost.api("GET", &format!("exchanges/{}/e-conomic.direct", vhost.name()), None).await;
    let facts = [&exchange["type"], &exchange["durable"], &exchange["auto_delete"], &exchange["internal"]];
    assert_eq!(facts, [&json!("direct"), &json!(true), &json!(false), &json!(false)]);
    let (_, queues) = vhost.api("GET", &format!("queues/{}", vhost.name()), None).await;
    assert_eq!(queues.as_array().unwrap().len(), 1, "setup makes one queue: {queues}");

    publisher.publish(&Event::new("e-conomic", "x", "1"), soon()).await.unwrap();
    assert_eq!(publisher.readiness(), Readiness::Ready);
    setup(&config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn check_sees_more_through_the_management_api() {
    let vhost = vhost().await;
    make_by_hand(&vhost, json!({"x-message-ttl": 604_800_000, "x-max-length": 10_000})).await;
    let mut config = config(&vhost.amqp_url());
    config.management_url = Some(vhost.management_url().into());
    let report = check(&config).await;
    let text = report.to_string();
    assert!(report.passed(), "{text}");
    assert!(text.contains("older than 7d vanish") && text.contains("dead-letter-routing-key"), "{text}");
    assert!(text.contains("drop-head") && text.contains(r#"{"overflow":"reject-publish"}"#), "{text}");
    assert!(text.contains("routing key 'webhook' is bound"), "{text}");
    assert!(!report.findings.iter().any(|finding| finding.level == Level::Unchecked), "{text}");

    vhost.unbind("e-conomic.direct", "e-conomic-webhooks", "webhook").await;
    let report = check(&config).await;
    assert!(!report.passed() && report.to_string().contains("is not bound"), "{report}");
}

/// The words of a command as a shell reads them: quotes are all that occurs.
fn words(command: &str) -> Vec<String> {
    let quoted = command.split('\'').enumerate();
    quoted
        .flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_a_check_mend_what_it_found() {
    let broker = Broker::shared(Version::V3).await;
    let vhost = broker.vhost().await;
    make_by_hand(&vhost, json!({"x-message-ttl": 604_800_000, "x-max-length": 10_000})).await;
    let mut config = config(&vhost.amqp_url());
    config.management_url = Some(vhost.management_url().into());
    let path = format!("policies/{}/everything", vhost.name());
    let everything =
        json!({"pattern": ".*", "apply-to": "all", "priority": 7, "definition": {"message-ttl": 9_000_000}});
    vhost.api("PUT", &path, Some(everything)).await;
    let text = eventually("the policy is seen", Duration::from_secs(10), async || {
        Some(check(&config).await.to_string()).filter(|text| text.contains("events live 9000000 ms"))
    })
    .await;
    assert!(text.contains("dead letters and does not exist"), "{text}");
    let subscriber = Subscriber::open(&config, 1).unwrap();
    let mut state = subscriber.state();
    drop(in_time("it receives", state.wait_for(|state| *state == State::Receiving)).await.unwrap());
    drop(subscriber);

    // One command at a time, as an operator would: none may undo the one before.
    for _ in 0..3 {
        let report = check(&config).await;
        let mends = report.findings.iter().filter_map(|finding| finding.mend.as_deref());
        let command = mends.filter_map(|mend| mend.strip_prefix("rabbitmqctl ")).next();
        let command = words(command.unwrap_or_else(|| panic!("nothing to mend: {report}")));
        broker.ctl(&command.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mended = json!(command[5]).as_str().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        eventually("the policy is in effect", Duration::from_secs(10), async || {
            let queue = vhost.queue("e-conomic-webhooks").await?;
            (Some(&queue["effective_policy_definition"]) == mended.as_ref()).then_some(())
        })
        .await;
    }
    let text = check(&config).await.to_string();
    assert!(!text.contains("warning") && text.contains("becomes a dead letter"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_amqp_alone_what_cannot_be_seen_is_called_unchecked() {
    let vhost = vhost().await;
    let config = config(&vhost.amqp_url());
    setup(&config).await.unwrap();
    let report = check(&config).await;
    assert!(
        report.findings.iter().any(|finding| finding.level == Level::Unchecked && finding.what.contains("binding"))
    );
    assert!(report.to_string().contains("older than 7d vanish"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_queue_dead_letters_what_expires() {
    let vhost = vhost().await;
    let mut config = config(&vhost.amqp_url());
    config.queue_type = QueueType::Quorum;
    config.ttl = Duration::from_millis(200);
    setup(&config).await.unwrap();
    let event = Event::new("e-conomic", "x", "late");
    Publisher::open(&config).unwrap().publish(&event, soon()).await.unwrap();
    let dead = eventually("the expired event is a dead letter", Duration::from_secs(10), async || {
        vhost.get("e-conomic-webhooks.dead").await
    })
    .await;
    assert_eq!(dead["properties"]["message_id"], event.id);
    assert_eq!(dead["properties"]["headers"]["x-death"][0]["reason"], "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_may_not_declare_verifies_and_waits() {
    let vhost = vhost().await;
    let mut config = config(&vhost.amqp_url());
    config.declare = false;
    let mut subscriber = Subscriber::open(&config, 10).unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), subscriber.next()).await;
    assert!(early.is_err(), "nothing can come from a queue that does not exist");
    assert_eq!(vhost.queue("e-conomic-webhooks").await, None, "it must not be declared");
    setup(&config).await.unwrap();
    Publisher::open(&config).unwrap().publish(&Event::new("e-conomic", "x", "1"), soon()).await.unwrap();
    in_time("the settlement", next(&mut subscriber).await.settle(Settlement::Ack)).await.unwrap();
}
