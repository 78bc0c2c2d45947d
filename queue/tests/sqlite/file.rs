//! What becomes of the file: made, waited for, deleted, replaced, too new, not ours, kept from an old version.

use std::path::Path;
use std::time::Duration;

use testbed::in_time;
use tokio::time::{Instant, timeout};
use webhook_queue::{
    Event, Level, Publish, PublishError, Publisher, Received, Settlement, State, Subscribe, Subscriber, check, setup,
};

use crate::{PATIENCE, body, config, connection, count, fresh, publish, publisher, receive, subscriber};

#[tokio::test]
async fn setup_makes_the_file_and_check_looks_at_it() {
    let (_folder, path) = fresh();
    let config = config(&path);
    let missing = check(&config).await;
    assert!(!missing.passed());
    assert_eq!(missing.findings[0].mend.as_deref(), Some("webhook-forwarder setup"));
    assert!(!path.exists(), "a check changes nothing");

    assert_eq!(setup(&config).await.unwrap(), [format!("file {}: made", path.display())]);
    assert_eq!(setup(&config).await.unwrap(), [format!("file {}: is there already", path.display())]);
    publish(&publisher(&path), &["1", "2"]).await;
    let report = check(&config).await;
    assert!(report.passed());
    let text = report.to_string();
    for line in ["schema version 2", "integrity: ok", "2 waiting, 0 held, 0 suspect", "dead letters: 0"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn check_warns_of_events_that_will_expire_and_of_dead_letters() {
    let (_folder, path) = fresh();
    publish(&publisher(&path), &["1", "2"]).await;
    let old = "UPDATE deliveries SET due = due - 500000000 WHERE seq = 1;
               DELETE FROM deliveries WHERE seq = 2;
               INSERT INTO dead_letters (seq, reason, error, attempts, at) VALUES (2, 'handler', '', 1, 0)";
    connection(&path).execute_batch(old).unwrap();
    let report = check(&config(&path)).await;
    let warnings: Vec<&str> =
        report.findings.iter().filter(|found| found.level == Level::Warning).map(|found| found.what.as_str()).collect();
    assert!(report.passed());
    assert!(matches!(warnings[..], [age, dead] if age.starts_with("age:") && dead == "dead letters: 1"), "{report}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name() {
    let (_folder, path) = fresh();
    setup(&config(&path)).await.unwrap();
    connection(&path).pragma_update(None, "user_version", 99).unwrap();
    let refused = format!(
        "QUEUE_URL: {}: the file has schema version 99 and this program knows versions up to 2: update \
         this program",
        path.display()
    );
    assert_eq!(Publisher::open(&config(&path)).unwrap_err().to_string(), refused);
    assert_eq!(Subscriber::open(&config(&path), 1).unwrap_err().to_string(), refused);
    assert!(!check(&config(&path)).await.passed());
}

#[tokio::test]
async fn somebody_elses_file_is_left_alone() {
    let (_folder, path) = fresh();
    connection(&path).execute_batch("CREATE TABLE accounts (name TEXT)").unwrap();
    let error = Publisher::open(&config(&path)).unwrap_err().to_string();
    assert!(error.ends_with("the file is a SQLite database, but not a queue: name another file"), "{error}");
    assert!(Subscriber::open(&config(&path), 1).is_err());
    assert_eq!(count(&connection(&path), "SELECT count(*) FROM sqlite_schema"), 1);

    std::fs::write(&path, "this is no database, and long enough to be told from one".repeat(20)).unwrap();
    assert!(Publisher::open(&config(&path)).is_err());
    assert!(Subscriber::open(&config(&path), 1).is_err());
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let (folder, _) = fresh();
    let path = folder.path().join("no/such/queue.db");
    let error = Publisher::open(&config(&path)).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn an_empty_file_becomes_a_queue() {
    let (_folder, path) = fresh();
    std::fs::write(&path, "").unwrap();
    let mut waiting = subscriber(&path, 1);
    publish(&publisher(&path), &["x"]).await;
    in_time("the settlement", receive(&mut waiting).await.settle(Settlement::Ack)).await.unwrap();
}

/// Publishes until it is confirmed and received: both halves have found the new file.
async fn goes_on(publisher: &Publisher, subscriber: &mut Subscriber) {
    let event = Event::new("shop", "order", "after");
    let give_up = Instant::now() + PATIENCE;
    while publisher.publish(&event, Instant::now() + Duration::from_secs(2)).await.is_err() {
        assert!(Instant::now() < give_up, "the publisher does not come back");
    }
    loop {
        assert!(Instant::now() < give_up, "the new event is not received");
        let delivery = receive(subscriber).await;
        let after = body(&delivery) == "after";
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
        if after {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_halves_go_on_when_the_file_is_deleted() {
    let (_folder, path) = fresh();
    let (publisher, mut subscriber) = (publisher(&path), subscriber(&path, 10));
    publish(&publisher, &["before"]).await;
    in_time("the settlement", receive(&mut subscriber).await.settle(Settlement::Ack)).await.unwrap();
    for _ in 0..3 {
        std::fs::remove_file(&path).unwrap();
        goes_on(&publisher, &mut subscriber).await;
    }
    assert_eq!(count(&connection(&path), "SELECT count(*) FROM events"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_halves_go_on_when_the_file_is_replaced() {
    let ((_folder, path), (_other_folder, other)) = (fresh(), fresh());
    let (publisher, mut subscriber) = (publisher(&path), subscriber(&path, 10));
    publish(&publisher, &["before"]).await;
    in_time("the settlement", receive(&mut subscriber).await.settle(Settlement::Ack)).await.unwrap();
    {
        let other = crate::publisher(&other);
        publish(&other, &["from the other file"]).await;
        other.close().await;
    }
    std::fs::rename(&other, &path).unwrap();
    assert_eq!(body(&receive(&mut subscriber).await), "from the other file");
    goes_on(&publisher, &mut subscriber).await;
    let integrity: String = connection(&path).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_confirmed_into_a_file_that_is_gone() {
    let (_folder, path) = fresh();
    let publisher = publisher(&path);
    publish(&publisher, &["before"]).await;
    let mut confirmed = 0;
    for _ in 0..20 {
        let event = Event::new("shop", "order", "x");
        std::fs::remove_file(&path).unwrap();
        if publisher.publish(&event, Instant::now() + Duration::from_secs(2)).await.is_ok() {
            assert_eq!(count(&connection(&path), "SELECT count(*) FROM events"), 1, "confirmed, and not in the file");
            confirmed += 1;
        }
    }
    assert!(confirmed > 0);
}

#[tokio::test]
async fn a_publish_whose_deadline_passed_before_it_was_begun_is_not_written() {
    let (_folder, path) = fresh();
    let publisher = publisher(&path);
    publish(&publisher, &["before"]).await;
    let blocker = connection(&path);
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let late = Event::new("shop", "order", "late");
    let outcome = publisher.publish(&late, Instant::now() + Duration::from_millis(100)).await;
    assert!(matches!(outcome, Err(PublishError::TimedOut)), "{outcome:?}");
    drop(blocker);
    publish(&publisher, &["after"]).await;
    assert_eq!(count(&connection(&path), "SELECT count(*) FROM events WHERE body = CAST('late' AS BLOB)"), 0);
    assert_eq!(count(&connection(&path), "SELECT count(*) FROM events"), 2);
}

/// So many events of one mebibyte.
async fn publish_mebibytes(publisher: &Publisher, count: usize) {
    let event = Event::new("shop", "order", vec![b'x'; 1024 * 1024]);
    for _ in 0..count {
        publisher.publish(&event, crate::soon()).await.unwrap();
    }
}

fn mebibytes(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len() / (1024 * 1024)
}

#[tokio::test]
async fn the_log_stays_bounded() {
    let (_folder, path) = fresh();
    let publisher = publisher(&path);
    // A reader that never ends keeps SQLite from starting the log afresh.
    let reader = connection(&path);
    reader.execute_batch("BEGIN; SELECT * FROM events").unwrap();
    publish_mebibytes(&publisher, 40).await;
    drop(reader);
    publish_mebibytes(&publisher, 80).await;
    let log = mebibytes(&path.with_file_name("queue.db-wal"));
    assert!(log <= 70, "the log has {log} MiB");
}

#[tokio::test]
async fn the_file_shrinks_again() {
    let (_folder, path) = fresh();
    let publisher = publisher(&path);
    publish_mebibytes(&publisher, 24).await;
    let mut subscriber = subscriber(&path, 10);
    for _ in 0..24 {
        in_time("the settlement", receive(&mut subscriber).await.settle(Settlement::Ack)).await.unwrap();
    }
    let free = || count(&connection(&path), "SELECT freelist_count FROM pragma_freelist_count");
    testbed::eventually("free pages are given back", PATIENCE, async || (free() < 1_100).then_some(())).await;
    in_time("the close", subscriber.close()).await;
    publisher.close().await;
    assert!(mebibytes(&path) <= 6, "the file has {} MiB", mebibytes(&path));
}

/// Written by version 0.1.0, and to be read by every later one. It holds: the event `waiting`; `retried`, due again
/// as attempt 3; `held` by a process that died; and the dead letter `dead`.
const VERSION_1: &[u8] = include_bytes!("version-1.db");

#[tokio::test]
async fn a_file_of_version_1_stays_readable() {
    let (_folder, path) = fresh();
    std::fs::write(&path, VERSION_1).unwrap();
    let mut config = config(&path);
    let report = check(&config).await.to_string();
    assert!(report.contains("schema version 1") && report.contains("dead letters: 1"), "{report}");
    // It grows older than any default.
    config.ttl = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let mut subscriber = Subscriber::open(&config, 10).unwrap();
    let mut state = subscriber.state();
    drop(timeout(PATIENCE, state.wait_for(|state| *state == State::Receiving)).await.unwrap().unwrap());

    let (mut seen, give_up) = (Vec::new(), crate::soon());
    while seen.len() < 3 {
        assert!(Instant::now() < give_up, "only {seen:?} came");
        let delivery = match timeout(PATIENCE, subscriber.next()).await.unwrap() {
            Received::Delivery(delivery) => delivery,
            Received::Suspects => match in_time("a suspect", subscriber.next_suspect()).await {
                Some(suspect) => suspect,
                None => continue,
            },
        };
        let event = delivery.event();
        assert_eq!((event.source.as_str(), event.event_type.as_str()), ("shop", "order.created"));
        assert_eq!((event.tenant.as_deref(), event.subject.as_deref()), (Some("123456"), Some("order/33")));
        assert_eq!((event.http.query.as_str(), event.header("x-a")), ("a=%2B&b=+&&c", Some("æ")));
        assert_eq!(webhook_queue::format_time(event.received), "2026-02-03T03:05:06.789000Z");
        assert_eq!(event.rung, 0);
        seen.push((body(&delivery), delivery.attempt()));
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
    }
    seen.sort();
    assert_eq!(seen, [("held".to_owned(), 1), ("retried".to_owned(), 3), ("waiting".to_owned(), 1)]);
    assert_eq!(in_time("the replay", subscriber.replay(10)).await.unwrap(), 1);
    let dead = receive(&mut subscriber).await;
    assert_eq!((body(&dead), dead.event().rung), ("dead".to_owned(), 0));
    in_time("the settlement", dead.settle(Settlement::Ack)).await.unwrap();

    let mut event = Event::new("shop", "order", "new");
    event.rung = 1;
    publisher(&path).publish(&event, crate::soon()).await.unwrap();
    assert_eq!(receive(&mut subscriber).await.event(), &event);
}
