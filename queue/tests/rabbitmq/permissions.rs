//! Users who may do no more than the README says.

use std::time::Duration;

use serde_json::json;
use testbed::{Broker, Vhost, in_time, versions};
use webhook_queue::{
    DeadLetter, Event, Publish, Publisher, QueueConfig, QueueType, Reason, Settlement, Subscribe, Subscriber, setup,
};

use super::{config, next, soon};

const README: &str = include_str!("../../README.md");

/// A user who may do what the README lists below a comment that begins like this.
async fn user(vhost: &Vhost, comment: &str) -> QueueConfig {
    let (before, rights) = README.split_once(&format!("\n# {comment}")).unwrap();
    let quoted: Vec<&str> = rights.split_once('\n').unwrap().1.split('\'').skip(1).step_by(2).take(3).collect();
    let [configure, write, read] = quoted[..] else { panic!("three patterns: {rights}") };
    let name = format!("user-{}-{}", before.len(), vhost.name());
    let account = json!({"password": "pw", "tags": ""});
    assert!(vhost.api("PUT", &format!("users/{name}"), Some(account)).await.0 < 300);
    let rights = json!({"configure": configure, "write": write, "read": read});
    assert!(vhost.api("PUT", &format!("permissions/{}/{name}", vhost.name()), Some(rights)).await.0 < 300);
    let (_, place) = vhost.amqp_url().split_once('@').map(|(user, place)| (user.to_owned(), place.to_owned())).unwrap();
    config(&format!("amqp://{name}:pw@{place}"))
}

/// Takes an event through each end that it can have.
async fn handle(forwarder: &Publisher, consumer: &QueueConfig) {
    let mut subscriber = Subscriber::open(consumer, 1).unwrap();
    forwarder.publish(&Event::new("shop", "order", "x"), soon()).await.unwrap();
    let letter = DeadLetter { reason: Reason::Handler, error: "no".to_owned(), handler: None };
    for settlement in
        [Settlement::Release, Settlement::Retry { after: Duration::from_secs(1) }, Settlement::DeadLetter(letter)]
    {
        in_time("the settlement", next(&mut subscriber).await.settle(settlement)).await.unwrap();
    }
    assert_eq!(in_time("the replay", subscriber.replay(1)).await.unwrap(), 1);
    in_time("the ack", next(&mut subscriber).await.settle(Settlement::Ack)).await.unwrap();
    in_time("the close", subscriber.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_may_do_what_it_needs() {
    for version in versions() {
        let vhost = Broker::shared(version).await.vhost().await;
        setup(&user(&vhost, "webhook-forwarder setup, if QUEUE_TYPE is classic").await).await.unwrap();
        let forwarder = Publisher::open(&user(&vhost, "a forwarder").await).unwrap();
        handle(&forwarder, &user(&vhost, "a consumer;").await).await;
        let mut verifying = user(&vhost, "a consumer with QUEUE_DECLARE=false").await;
        verifying.declare = false;
        handle(&forwarder, &verifying).await;

        let vhost = Broker::shared(version).await.vhost().await;
        let mut quorum = user(&vhost, "a consumer;").await;
        quorum.queue_type = QueueType::Quorum;
        setup(&quorum).await.unwrap();
        handle(&Publisher::open(&user(&vhost, "a forwarder").await).unwrap(), &quorum).await;
    }
}
