//! Webhooks through the program into a file and out of it again.

use std::io::Write;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use testbed::in_time;
use tokio::time::timeout;
use webhook_queue::{Event, QueueConfig, QueueUrl, Received, Settlement, Subscribe, Subscriber};

use crate::process::{Forwarder, MAX_IN_FLIGHT_BYTES, PATIENCE, connect, exchange, post, read_to_end, status};

/// Takes this many events off the queue.
async fn receive(forwarder: &Forwarder, count: usize) -> Vec<Event> {
    let config = QueueConfig::new(QueueUrl::Sqlite(forwarder.queue_file()));
    let mut subscriber = Subscriber::open(&config, 10).unwrap();
    let mut events = Vec::new();
    while events.len() < count {
        match timeout(PATIENCE, subscriber.next()).await.unwrap() {
            Received::Delivery(delivery) => {
                events.push(delivery.event().clone());
                in_time("the settlement", delivery.settle(Settlement::Ack)).await.unwrap();
            }
            Received::Suspects => panic!("nothing crashed"),
        }
    }
    in_time("the close", subscriber.close()).await;
    events
}

#[tokio::test]
async fn what_is_answered_200_is_received_byte_for_byte() {
    let forwarder = Forwarder::start(&[("SOURCE_E_CONOMIC_ACCESS_KEY", "k3y")]);
    let all: Vec<u8> = (0..=255).collect();
    let target = "/webhooks/e-conomic/product-updated?a=%2B&key=k3y&b=+&&c&tenant=42";
    let headers = b"X-Twice: 1\r\nX-Twice: 2\r\nX-Latin: sm\xf8r\r\nX-Utf8: sm\xc3\xb8r\r\nX-Functions-Key: k3y\r\n";
    let answer = exchange(forwarder.connect(), &post(target, headers, &all));
    assert_eq!(status(&answer), 200);

    let event = receive(&forwarder, 1).await.remove(0);
    assert!(answer.ends_with(&format!("\r\n\r\n{{\"id\":\"{}\"}}", event.id)), "{answer}");
    assert_eq!(event.body, all);
    assert_eq!((event.source.as_str(), event.event_type.as_str()), ("e-conomic", "product-updated"));
    assert_eq!((event.tenant.as_deref(), event.verified.as_str()), (Some("42"), "key"));
    assert_eq!(event.http.query, "a=%2B&b=+&&c&tenant=42");
    let own: Vec<(&str, &str)> =
        event.http.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("connection", "close"),
        ("content-length", "256"),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("x-latin", "smør"),
        ("x-utf8", "smør"),
    ];
    assert_eq!(own, expected);
    let stored = std::fs::read_dir(forwarder.folder()).unwrap().flat_map(|file| std::fs::read(file.unwrap().path()));
    assert!(stored.into_iter().all(|content| !content.windows(3).any(|window| window == b"k3y")));
}

#[tokio::test]
async fn sigterm_finishes_what_was_accepted() {
    let forwarder = Forwarder::start(&[]);
    let mut half = forwarder.connect();
    half.write_all(b"POST /webhooks/demo HTTP/1.1\r\ncontent-length: 8\r\n\r\nhalf").unwrap();
    // Answered later than the first half of the other was read.
    assert_eq!(status(&exchange(forwarder.connect(), &post("/webhooks/demo", b"", b"whole"))), 200);
    forwarder.signal("TERM");
    let mut forwarder = forwarder;
    forwarder.wait_for_line("stopping");
    half.write_all(b"more").unwrap();
    let answer = read_to_end(&mut half);
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("connection: close"), "{answer}");
    let events = receive(&forwarder, 2).await;
    assert_eq!([&events[0].body[..], &events[1].body[..]], [&b"whole"[..], b"halfmore"]);
    let (code, log) = forwarder.wait();
    assert_eq!(code, Some(0));
    assert!(log.contains("webhooks.taken=2") && log.contains("events.confirmed=2"), "{log}");
}

/// Sends more large bodies at a time than there is room for. Returns the answers' statuses.
pub(crate) fn flood_with_large_bodies(forwarder: &Forwarder, callers: usize) -> Vec<u16> {
    const BODY_BYTES: usize = 6 * 1024 * 1024;
    let request = post("/webhooks/demo", b"", &vec![b'x'; BODY_BYTES]);
    let address = forwarder.address;
    let start = Barrier::new(callers);
    let began = Instant::now();
    let statuses = thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| {
                    let stream = connect(address);
                    start.wait();
                    status(&exchange(stream, &request))
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    statuses
}

#[test]
fn memory_is_bounded_while_the_file_is_locked() {
    let forwarder = Forwarder::start(&[]);
    let lock = Connection::open(forwarder.queue_file()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let statuses = flood_with_large_bodies(&forwarder, 256);
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    forwarder.assert_memory_is_bounded(MAX_IN_FLIGHT_BYTES);

    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(status(&exchange(forwarder.connect(), &post("/webhooks/demo", b"", b"x"))), 200);
}

#[test]
fn memory_is_bounded_while_heads_stay_unfinished() {
    const BYTES: usize = 20 * 1024 * 1024;
    // As many as fit, but for a few callers with large bodies.
    const HEADS: usize = 304;
    const HEAD_BYTES: usize = 63 * 1024;
    let forwarder = Forwarder::start(&[("MAX_IN_FLIGHT", "320"), ("MAX_IN_FLIGHT_BYTES", &BYTES.to_string())]);
    let lock = Connection::open(forwarder.queue_file()).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let before = forwarder.peak_memory();
    let head = format!("POST /webhooks/demo HTTP/1.1\r\nx: {}", "x".repeat(HEAD_BYTES));
    let mut callers: Vec<_> = (0..HEADS).map(|_| forwarder.connect()).collect();
    for caller in &mut callers {
        caller.write_all(head.as_bytes()).unwrap();
    }
    let began = Instant::now();
    while forwarder.peak_memory() < before + HEADS * HEAD_BYTES {
        assert!(began.elapsed() < PATIENCE, "the heads are not read");
        thread::sleep(Duration::from_millis(5));
    }
    let statuses = flood_with_large_bodies(&forwarder, 16);
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    forwarder.assert_memory_is_bounded(BYTES);
}

#[test]
fn few_open_files_are_enough() {
    const CALLERS: usize = 200;
    let mut forwarder = Forwarder::start_with_files(96, &[]);
    let address = forwarder.address;
    let accepted = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| scope.spawn(|| status(&exchange(connect(address), &post("/webhooks/demo", b"", b"x")))))
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).filter(|status| *status == 200).count()
    });
    assert_eq!(accepted, CALLERS);
    forwarder.wait_for_line("the system allows 96 open files: holding at most 32 connections");
}
