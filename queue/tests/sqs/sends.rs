//! What is published at the same time shares requests, and each event has an answer of its own.
//!
//! Where nothing else says so, a test has one thread: all that it publishes waits before the first request is made.

use std::time::Duration;

use serde_json::json;
use testbed::{Fate, Moto, Proxy, SqsServer, SqsStandIn};
use tokio::task::JoinSet;
use tokio::time::Instant;
use webhook_queue::{Event, Publish, PublishError, Publisher, decode_sqs};

use super::{publisher, soon};

/// What a batch may be long, in bytes.
const MOST_BYTES: usize = 1024 * 1024;

/// Publishes them at once. Their outcomes, in their order.
async fn publish_at_once(publisher: &Publisher, events: &[Event]) -> Vec<Result<(), PublishError>> {
    let mut tasks = JoinSet::new();
    for (place, event) in events.iter().enumerate() {
        let (publisher, event) = (publisher.clone(), event.clone());
        tasks.spawn(async move { (place, publisher.publish(&event, soon()).await) });
    }
    let mut outcomes = tasks.join_all().await;
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn of_sizes(sizes: impl IntoIterator<Item = usize>) -> Vec<Event> {
    sizes.into_iter().map(|size| Event::new("shop", "order", vec![b'x'; size])).collect()
}

fn requests(server: &SqsStandIn) -> (usize, usize) {
    (server.requests("SendMessage"), server.requests("SendMessageBatch"))
}

#[tokio::test]
async fn many_events_travel_in_few_requests_and_one_alone() {
    let server = SqsStandIn::start().await;
    let queue = server.queue(false, json!({})).await;
    let publisher = publisher(&queue.url());
    let events = of_sizes([1; 25]);
    assert!(publish_at_once(&publisher, &events).await.iter().all(Result::is_ok));
    assert_eq!(requests(&server), (0, 3));
    let mut expected: Vec<&String> = events.iter().map(|event| &event.id).collect();
    let found = queue.take_all().await;
    let mut found: Vec<String> =
        found.iter().map(|message| decode_sqs(message["Body"].as_str().unwrap()).unwrap().id).collect();
    expected.sort();
    found.sort();
    assert!(found.iter().eq(expected));

    publisher.publish(&events[0], soon()).await.unwrap();
    assert_eq!(requests(&server), (1, 3));
}

#[tokio::test]
async fn a_batch_keeps_the_order_in_which_its_events_came() {
    let server = SqsStandIn::start().await;
    let queue = server.queue(true, json!({})).await;
    let events = of_sizes(0..10);
    assert!(publish_at_once(&publisher(&queue.url()), &events).await.iter().all(Result::is_ok));
    assert_eq!(requests(&server), (0, 1));
    let messages = queue.take_all().await;
    let sizes = messages.iter().map(|message| decode_sqs(message["Body"].as_str().unwrap()).unwrap().body.len());
    assert!(sizes.eq(0..10));
}

#[tokio::test]
async fn each_event_of_a_batch_is_answered_for_itself() {
    let server = SqsStandIn::start().await;
    let queue = server.queue(false, json!({})).await;
    server.doom("type-refused", Fate::Fails(400, "InvalidMessageContents"));
    server.doom("type-failed", Fate::Fails(500, "InternalError"));
    server.doom("type-unroutable", Fate::Fails(400, "AWS.SimpleQueueService.NonExistentQueue"));
    server.doom("type-unmentioned", Fate::Unmentioned);
    let types = ["good", "type-refused", "type-failed", "good", "type-unmentioned", "type-unroutable", "good"];
    let events = types.map(|event_type| Event::new("shop", event_type, "x"));
    let publisher = publisher(&queue.url());
    for (event, outcome) in events.iter().zip(publish_at_once(&publisher, &events).await) {
        match (&*event.event_type, outcome) {
            ("good", Ok(()))
            | ("type-failed" | "type-unmentioned", Err(PublishError::Unreachable(_)))
            | ("type-unroutable", Err(PublishError::Unroutable(_))) => {}
            ("type-refused", Err(PublishError::Refused(why))) => assert!(why.starts_with("InvalidMessage"), "{why}"),
            (event_type, outcome) => panic!("{event_type}: {outcome:?}"),
        }
    }
    assert_eq!(requests(&server), (0, 1));
    assert_eq!(queue.count().await, 4, "what is not mentioned may be there");
}

/// Such as that of a proxy which answers in SQS's place.
#[tokio::test]
async fn an_answer_that_says_nothing_of_an_event_confirms_nothing() {
    let server = SqsStandIn::start().await;
    let queue = server.queue(false, json!({})).await;
    server.doom("order", Fate::Unmentioned);
    let outcome = publisher(&queue.url()).publish(&Event::new("shop", "order", "x"), soon()).await;
    assert!(matches!(outcome, Err(PublishError::Unreachable(_))), "{outcome:?}");
    assert_eq!((requests(&server), queue.count().await), ((1, 0), 1), "it may be there");
}

#[tokio::test]
async fn a_failure_of_the_request_is_everybodys() {
    let server = SqsStandIn::start().await;
    let missing = server.absent_queue(false);
    let outcomes = publish_at_once(&publisher(&missing.url()), &of_sizes([1; 3])).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(PublishError::Unroutable(_)))), "{outcomes:?}");
    assert_eq!(requests(&server), (0, 1));

    server.refuse(400, "UnsupportedOperation");
    let outcomes = publish_at_once(&publisher(&missing.url()), &of_sizes([1; 3])).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(PublishError::Refused(_)))), "{outcomes:?}");
    assert_eq!(requests(&server), (0, 2));

    server.refuse(500, "InternalFailure");
    let outcomes = publish_at_once(&publisher(&missing.url()), &of_sizes([1; 3])).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(PublishError::Unreachable(_)))), "{outcomes:?}");
}

/// Whoever takes it for a fault of the event asks again for each of the others.
#[tokio::test]
async fn too_many_requests_and_bad_credentials_are_no_fault_of_an_event() {
    let server = SqsStandIn::start().await;
    let queue = server.queue(false, json!({})).await;
    let publisher = publisher(&queue.url());
    let codes = [
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "KMS.DisabledException",
        "KMS.ThrottlingException",
        "KmsThrottled",
        "OverLimit",
        "RequestExpired",
        "RequestThrottled",
        "SignatureDoesNotMatch",
        "Throttling",
        "ThrottlingException",
        "UnrecognizedClientException",
    ];
    for code in codes {
        server.refuse(400, code);
        for count in [1, 2] {
            for outcome in publish_at_once(&publisher, &of_sizes(vec![1; count])).await {
                assert!(matches!(&outcome, Err(PublishError::Blocked(why)) if why.starts_with(code)), "{outcome:?}");
            }
        }
    }
    server.accept();
    assert!(publisher.publish(&Event::new("shop", "order", "x"), soon()).await.is_ok());
}

#[tokio::test]
async fn a_request_is_as_long_as_sqs_allows_and_no_longer() {
    let server = SqsStandIn::start().await;
    let queue = server.queue(false, json!({})).await;
    let publisher = publisher(&queue.url());
    // In base64 two of them are less than the limit, and three are more.
    let mixed = [300_000, 300_000, 300_000, 1, 300_000, 1, 700_000];
    assert!(publish_at_once(&publisher, &of_sizes(mixed)).await.iter().all(Result::is_ok));
    assert_eq!(requests(&server), (1, 2));
    queue.purge().await;

    let mut halves = of_sizes([300_000, 300_000]);
    assert!(publish_at_once(&publisher, &halves).await.iter().all(Result::is_ok));
    let attribute = "content-typeStringapplication/cloudevents+json".len();
    let bodies = queue.take_all().await.into_iter().map(|message| message["Body"].as_str().unwrap().len());
    let sent: usize = bodies.map(|body| body + attribute).sum();
    halves[0].http.path = "/".repeat(MOST_BYTES - sent);
    assert!(publish_at_once(&publisher, &halves).await.iter().all(Result::is_ok));
    assert_eq!(requests(&server), (1, 4));
    halves[0].http.path.push('/');
    assert!(publish_at_once(&publisher, &halves).await.iter().all(Result::is_ok));
    assert_eq!(requests(&server), (3, 4));
}

/// Somebody has lowered what the queue takes, and so what it takes at once.
#[tokio::test]
async fn what_is_refused_for_its_company_is_sent_alone() {
    let servers: [&SqsServer; 2] = [Moto::shared().await, SqsStandIn::shared().await];
    for server in servers {
        let queue = server.queue(false, json!({"MaximumMessageSize": "65536"})).await;
        let events = of_sizes([10_000, 10_000, 60_000, 10_000, 10_000, 10_000, 10_000]);
        let outcomes = publish_at_once(&publisher(&queue.url()), &events).await;
        for (event, outcome) in events.iter().zip(outcomes) {
            match (event.body.len(), outcome) {
                (10_000, Ok(())) | (60_000, Err(PublishError::Refused(_))) => {}
                (bytes, outcome) => panic!("{bytes} bytes: {outcome:?}"),
            }
        }
        assert_eq!(queue.count().await, 6);
    }
}

#[tokio::test]
async fn neither_a_short_deadline_nor_a_caller_that_goes_harms_the_others_of_its_batch() {
    let server = SqsStandIn::start().await;
    let (queue, proxy) = (server.queue(false, json!({})).await, Proxy::start(server.addr()).await);
    let publisher = publisher(&queue.url_via(proxy.addr()));
    proxy.stall();
    let begun = Instant::now();
    let publish = |wait| {
        let (publisher, deadline) = (publisher.clone(), begun + Duration::from_millis(wait));
        tokio::spawn(
            async move { (publisher.publish(&Event::new("shop", "order", "x"), deadline).await, begun.elapsed()) },
        )
    };
    let (short, gone, patient) = (publish(200), publish(10_000), publish(10_000));
    let (outcome, took) = short.await.unwrap();
    assert!(matches!(outcome, Err(PublishError::TimedOut)), "{outcome:?}");
    assert!(took < Duration::from_millis(600), "{took:?}");
    gone.abort();
    proxy.cut();
    proxy.heal();
    assert!(patient.await.unwrap().0.is_ok());
    assert_eq!(server.requests("SendMessage"), 0);
}

/// While as many requests are under way as there may be, their answers are not waited for beyond a deadline.
#[tokio::test]
async fn whoever_waits_for_a_request_has_an_answer_by_the_deadline() {
    let server = SqsStandIn::start().await;
    let (queue, proxy) = (server.queue(false, json!({})).await, Proxy::start(server.addr()).await);
    let publisher = publisher(&queue.url_via(proxy.addr()));
    proxy.stall();
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..2_000 {
        let publisher = publisher.clone();
        let deadline = begun + Duration::from_millis(if number % 2 == 0 { 500 } else { 1_500 });
        tasks.spawn(async move {
            let outcome = publisher.publish(&Event::new("shop", "order", "x"), deadline).await;
            (outcome, Instant::now().saturating_duration_since(deadline))
        });
    }
    for (outcome, late) in tasks.join_all().await {
        assert!(matches!(outcome, Err(PublishError::TimedOut)), "{outcome:?}");
        assert!(late < Duration::from_millis(700), "{late:?}");
    }
    proxy.cut();
    proxy.heal();
    assert!(publisher.publish(&Event::new("shop", "order", "x"), soon()).await.is_ok());
}
