//! What is logged about a failure: enough to find the event, and never its content.
#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use webhook_consumer::testing::{EventBuilder, Kit, event};
use webhook_consumer::{BoxError, Bytes, Form, Json, Outcome, Query, Router};

const SECRET: &str = "s3cret";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log lines of one event's whole life, however many attempts.
fn log_of(event: EventBuilder) -> Vec<String> {
    let router = Router::new()
        .on("s/json", async |_: Json<u64>| ())
        .on("s/query", async |_: Query<Vec<(String, u64)>>| ())
        .on("s/form", async |_: Form<Vec<(String, u64)>>| ())
        .on("s/parses", async |body: Bytes| -> Result<(), BoxError> {
            let _: u64 = serde_json::from_slice(&body)?;
            Ok(())
        })
        .on("s/unwraps", async |body: Bytes| {
            let _: u64 = serde_json::from_slice(&body).unwrap();
        })
        .on("s/given-up", async || Outcome::dead_letter("no such customer"));
    let log = Log::default();
    let lines = log.0.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || log.clone())
        .with_ansi(false)
        .without_time()
        .with_max_level(tracing::Level::TRACE)
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            Kit::new(router).unwrap().retry_max_age(Duration::from_nanos(1)).deliver(event).await;
        });
    });
    let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_failure_is_one_line_that_names_the_event() {
    let lines = log_of(event("s/given-up").id("abc"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in [
        "ERROR",
        "the event is dead-lettered",
        "event.id=\"abc\"",
        "event.source=\"s\"",
        "event.type=\"given-up\"",
        "delivery.attempt=1",
        "handler=\"s/given-up\"",
        "error=\"no such customer\"",
        "dead.reason=\"handler\"",
    ] {
        assert!(lines[0].contains(part), "{part} is not in {}", lines[0]);
    }
}

#[test]
fn an_event_without_a_handler_names_none() {
    let lines = log_of(event("s/unknown"));
    assert!(lines[0].contains("dead.reason=\"no-handler\"") && !lines[0].contains(" handler="), "{lines:?}");
}

#[test]
fn a_retry_says_when_the_event_comes_again() {
    let lines = log_of(event("s/parses").body("\"s3cret\""));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("delivery.after_ms=1000"), "{}", lines[0]);
    assert!(lines[0].contains("error=\"unexpected JSON at line 1 column 8\""), "{}", lines[0]);
    assert!(lines[1].contains("ERROR") && lines[1].contains("dead.reason=\"retries\""), "{}", lines[1]);
}

#[test]
fn no_line_quotes_the_event() {
    for (name, expected) in [
        ("s/json", "the JSON body cannot be read, at line 1 column 8"),
        ("s/query", "the query cannot be read"),
        ("s/form", "the form body cannot be read"),
        ("s/parses", "unexpected JSON"),
        ("s/unwraps", "the handler panicked"),
        ("s/unknown", "no handler matches"),
    ] {
        let body = if name == "s/form" { format!("a={SECRET}") } else { format!("\"{SECRET}\"") };
        let event = event(name).body(body).query(&format!("a={SECRET}")).header("x-key", SECRET);
        let lines = log_of(event).join("\n");
        assert!(lines.contains(expected), "{name}: {lines}");
        assert!(!lines.contains(SECRET), "{name}: {lines}");
    }
}
