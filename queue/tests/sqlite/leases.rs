//! Leases: extended while the holder lives, however busy its own threads are; lost when it does not.

use std::time::Duration;

use testbed::in_time;
use webhook_queue::{Received, Settlement, Subscribe};

use crate::{PATIENCE, body, connection, count, fresh, publish, publisher, receive, subscriber};

#[tokio::test(flavor = "current_thread")]
async fn a_blocked_runtime_loses_no_lease() {
    let (_folder, path) = fresh();
    publish(&publisher(&path), &["held", "buffered"]).await;
    let mut subscriber = subscriber(&path, 10);
    let delivery = receive(&mut subscriber).await;
    let earliest = || count(&connection(&path), "SELECT min(lease_until) FROM deliveries");
    let before = earliest();
    // A handler that blocks the only thread there is.
    let deadline = std::time::Instant::now() + PATIENCE;
    while earliest() == before {
        assert!(std::time::Instant::now() < deadline, "the leases were not extended");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(earliest() >= before + 9_000);
    in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
    assert_eq!(body(&receive(&mut subscriber).await), "buffered");
}

#[tokio::test]
async fn a_lease_lasts_thirty_seconds() {
    let (_folder, path) = fresh();
    publish(&publisher(&path), &["x"]).await;
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let before = now();
    let mut subscriber = subscriber(&path, 1);
    let _held = receive(&mut subscriber).await;
    let until = count(&connection(&path), "SELECT lease_until FROM deliveries");
    assert!((before + 30_000..=now() + 30_000).contains(&until));
}

#[tokio::test]
async fn a_settlement_after_another_took_the_event_settles_nothing() {
    let (_folder, path) = fresh();
    publish(&publisher(&path), &["x"]).await;
    let mut slow = subscriber(&path, 1);
    let held = receive(&mut slow).await;
    // The slow one is not looking, and half a minute goes by.
    connection(&path).execute("UPDATE deliveries SET lease_until = 1", []).unwrap();
    let mut other = subscriber(&path, 1);
    let taken = testbed::in_time("the suspect is received", async {
        loop {
            let Received::Suspects = other.next().await else { panic!("it is a suspect") };
            if let Some(taken) = other.next_suspect().await {
                break taken;
            }
        }
    })
    .await;
    in_time("the settlement", held.settle(Settlement::Ack)).await.unwrap_err();
    assert_eq!(count(&connection(&path), "SELECT count(*) FROM events"), 1);
    in_time("the settlement", taken.settle(Settlement::Ack)).await.unwrap();
    assert_eq!(count(&connection(&path), "SELECT count(*) FROM events"), 0);
}

#[tokio::test]
async fn a_graceful_end_leaves_no_suspects() {
    let (_folder, path) = fresh();
    let publisher = publisher(&path);
    publish(&publisher, &["1", "2", "3"]).await;
    let mut first = subscriber(&path, 10);
    let held = receive(&mut first).await;
    in_time("the close", first.close()).await;
    drop(held);
    let mut second = subscriber(&path, 10);
    for expected in ["1", "2", "3"] {
        let delivery = receive(&mut second).await;
        assert_eq!(body(&delivery), expected);
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
    }
}

#[tokio::test]
async fn the_oldest_comes_first() {
    let (_folder, path) = fresh();
    let publisher = publisher(&path);
    let bodies: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    publish(&publisher, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut subscriber = subscriber(&path, 7);
    for expected in bodies {
        let delivery = receive(&mut subscriber).await;
        assert_eq!(body(&delivery), expected);
        in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
    }
}

#[tokio::test]
async fn large_bodies_are_not_all_held_at_once() {
    const MEBIBYTE: usize = 1024 * 1024;
    let (_folder, path) = fresh();
    let publisher = publisher(&path);
    let event = webhook_queue::Event::new("shop", "order", vec![b'x'; 20 * MEBIBYTE]);
    for _ in 0..6 {
        webhook_queue::Publish::publish(&publisher, &event, crate::soon()).await.unwrap();
    }
    let mut subscriber = subscriber(&path, 100);
    let first = receive(&mut subscriber).await;
    let held = "SELECT count(*) FROM deliveries WHERE lease IS NOT NULL";
    assert_eq!(count(&connection(&path), held), 3);
    in_time("the settlement", first.settle(Settlement::Ack)).await.unwrap();
    for _ in 0..5 {
        in_time("the settlement", receive(&mut subscriber).await.settle(Settlement::Ack)).await.unwrap();
    }
}
