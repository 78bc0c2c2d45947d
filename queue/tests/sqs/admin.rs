//! `setup` and `check`.

use std::time::Duration;

use serde_json::json;
use testbed::Moto;
use webhook_queue::{Event, Level, Publish, check, setup};

use super::{config, publisher, soon};

#[tokio::test(flavor = "multi_thread")]
async fn setup_makes_a_queue_that_check_accepts() {
    for fifo in [false, true] {
        let queue = Moto::shared().await.absent_queue(fifo);
        let config = config(&queue.url());
        let report = check(&config).await;
        assert!(!report.passed(), "{report}");
        assert!(report.to_string().contains("mend: webhook-forwarder setup"), "{report}");

        let made = setup(&config).await.unwrap();
        assert!(made.len() == 3 && made.iter().all(|line| line.contains("made")), "{made:?}");
        assert_eq!(queue.dead().attributes().await["MessageRetentionPeriod"], "1209600");
        let attributes = queue.attributes().await;
        assert_eq!(attributes["MessageRetentionPeriod"], "604800");
        assert_eq!(attributes["FifoQueue"] == "true", fifo);
        let again = setup(&config).await.unwrap();
        assert!(again.iter().all(|line| line.contains("is there already")), "{again:?}");

        let report = check(&config).await;
        assert!(report.passed() && report.to_string().contains("dead letters: none in test-"), "{report}");
        let warnings: Vec<_> =
            report.findings.iter().filter(|finding| finding.level == Level::Warning).map(|w| &w.what).collect();
        assert!(warnings.is_empty(), "{report}");
        publisher(&queue.url()).publish(&Event::new("shop", "order", "x"), soon()).await.unwrap();
        publisher(&queue.dead().url()).publish(&Event::new("shop", "order", "x"), soon()).await.unwrap();
        let report = check(&config).await;
        let dead =
            report.findings.iter().find(|finding| finding.what.contains("dead letters: about 1 in test-")).unwrap();
        assert_eq!(dead.level, Level::Warning);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_lose_an_event_is_a_warning_with_the_command_that_mends_it() {
    let lossy = json!({"MessageRetentionPeriod": "86400", "MaximumMessageSize": "262144"});
    let queue = Moto::shared().await.queue(false, lossy).await;
    let report = check(&config(&queue.url())).await.to_string();
    assert!(report.contains("earlier than QUEUE_TTL (7d)"), "{report}");
    assert!(report.contains("--attributes MessageRetentionPeriod=604800"), "{report}");
    assert!(report.contains("--attributes MaximumMessageSize=1048576"), "{report}");

    let policy = |count: u32| {
        let target = "arn:aws:sqs:us-east-1:123456789012:dead";
        json!({"RedrivePolicy": json!({"deadLetterTargetArn": target, "maxReceiveCount": count}).to_string()})
    };
    Moto::shared().await.call("CreateQueue", json!({"QueueName": "dead"})).await;
    let hasty = Moto::shared().await.queue(false, policy(5)).await;
    let report = check(&config(&hasty.url())).await.to_string();
    assert!(report.contains("after the first queue was away for 2m 30s"), "{report}");
    let patient = Moto::shared().await.queue(false, policy(1000)).await;
    let report = check(&config(&patient.url())).await.to_string();
    assert!(report.contains("have a queue, after 1000 receives"), "{report}");

    let mut longest = config(&queue.url());
    longest.ttl = Duration::from_secs(30 * 24 * 60 * 60);
    let report = check(&longest).await.to_string();
    assert!(report.contains("--attributes MessageRetentionPeriod=1209600"), "{report}");
}
