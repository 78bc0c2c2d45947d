//! Every example is run, and what it prints is looked at.
#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

mod program;

use std::process::Command;
use std::time::Duration;

use testbed::{Broker, Version, run};
use tokio::time::Instant;
use webhook_consumer::testing::fatture_in_cloud;
use webhook_queue::{Env, Event, Publish, Publisher, QueueConfig, Role};
use webhook_queue_examples::SAMPLES;

use crate::program::Program;

/// The SHA-256 of the 256 byte values in order begins like this.
const SHA256_OF_ALL_BYTES: &str = "40aff2e9d2d8922e";

#[test]
fn the_quickstart_handles_every_sample_and_the_curl_lines_that_it_prints() {
    let mut quickstart = Program::start("quickstart", &[]);
    let shown = quickstart.lines_until("Serving until Ctrl-C.");
    for sample in SAMPLES {
        let name = format!("  {}/{} ", sample.source, sample.event_type);
        let line =
            shown.iter().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("no {name} in {shown:#?}"));
        let bytes = line.split_whitespace().nth(1).unwrap();
        assert_eq!(bytes, sample.body.len().to_string(), "{line}");
    }
    assert!(shown.iter().any(|line| line.trim() == "product 33 was changed"), "{shown:#?}");

    let (update, all_bytes) = (printed_command(&shown, "  curl"), printed_command(&shown, "  printf"));
    let id = run_and_expect_an_id(&update);
    let handled = quickstart.lines_until("product 33 is now 34");
    let is_it = |line: &String| line.starts_with("  e-conomic/product-updated ") && line.ends_with(&id);
    assert!(handled.iter().any(is_it), "{id}: {handled:#?}");

    let id = run_and_expect_an_id(&all_bytes);
    let line = quickstart.lines_until("e-conomic/all-bytes").pop().unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["e-conomic/all-bytes", "256", SHA256_OF_ALL_BYTES, &id]);

    quickstart.signal("TERM");
    let end = quickstart.wait();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.stdout.last().unwrap().starts_with(&format!("Stopped: {} events", SAMPLES.len() + 2)), "{end:?}");
    assert!(end.stderr.is_empty(), "{end:?}");
}

#[test]
fn a_second_quickstart_takes_another_port_and_leaves_nothing_behind() {
    let [mut first, mut second] = [(); 2].map(|()| Program::start("quickstart", &[]));
    let [of_first, of_second] = [&mut first, &mut second].map(|program| program.lines_until("Serving until Ctrl-C."));
    assert_ne!(of_first[0], of_second[0], "both serve at the same address");
    for (program, shown) in [(first, of_first), (second, of_second)] {
        let file = shown[1].split_whitespace().nth(1).unwrap();
        assert!(std::fs::exists(file).unwrap(), "{file}");
        program.signal("INT");
        assert_eq!(program.wait().code, Some(0));
        assert!(!std::fs::exists(file).unwrap(), "{file}");
    }
}

/// The command on the line that starts like this, with the lines that it goes on.
fn printed_command(shown: &[String], start: &str) -> String {
    let lines = shown.iter().skip_while(|line| !line.starts_with(start));
    let end = lines.clone().position(|line| !line.ends_with('\\')).unwrap();
    lines.take(end + 1).cloned().collect::<Vec<_>>().join("\n")
}

/// Runs a line as a reader would, and returns the id in the answer 200.
fn run_and_expect_an_id(command: &str) -> String {
    let output = run(Command::new("/bin/sh").args(["-c", command]));
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{command}: {answer}");
    let (_, id) = answer.split_once("{\"id\":\"").unwrap();
    id.strip_suffix("\"}").unwrap().to_owned()
}

#[tokio::test]
async fn embed_handles_dead_letters_and_asks_for_them_again() {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    let url = vhost.amqp_url();
    let folder = tempfile::tempdir().unwrap();
    let accounts = folder.path().join("accounts.json");
    std::fs::write(&accounts, "{}").unwrap();
    let mut embed = Program::start("embed", &[("QUEUE_URL", &url), ("ACCOUNTS_FILE", accounts.to_str().unwrap())]);
    embed.lines_until("health: receiving, 0 running, 0 handled");

    let mut invoice = Event::new("e-conomic", "invoice-booked", "number=1042");
    invoice.tenant = Some("108061".to_owned());
    let mut product = Event::new("e-conomic", "product-updated", "");
    product.http.query = "newnumber=33&oldnumber=33".to_owned();
    let documents = fatture_in_cloud("issued_documents.invoices.create", 108061, &[3062300]);
    let (unreadable, documents) = (documents.clone().body("not JSON").id("unreadable").build(), documents.build());
    let all = [&invoice, &unreadable, &product, &documents];
    publish(&url, &all).await;

    let shown = embed.lines_until("2 handled, 0 retried, 2 dead-lettered");
    for refreshed in ["refreshed product 33", "refreshed document 3062300 of 108061"] {
        assert!(shown.iter().any(|line| line == refreshed), "{shown:#?}");
    }

    std::fs::write(&accounts, r#"{"108061": "Rossi"}"#).unwrap();
    embed.signal("HUP");
    let shown = embed.lines_until("dead letters back");
    assert_eq!(shown.last().unwrap(), "moved 2 dead letters back");
    // What cannot be read is a dead letter again.
    let shown = [shown, embed.lines_until("3 handled, 0 retried, 3 dead-lettered")].concat();
    assert!(shown.iter().any(|line| line == "refreshed invoice 1042 of Rossi"), "{shown:#?}");

    embed.signal("TERM");
    let end = embed.wait();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(end.stdout.last().unwrap(), "drained: 3 handled, 0 interrupted");
    let farewell = end.stderr.iter().skip_while(|line| !line.contains("draining on a signal"));
    assert!(farewell.clone().count() > 1 && !farewell.clone().any(|line| line.contains("ERROR")), "{end:#?}");

    let left = vhost.get("e-conomic-webhooks.dead").await.unwrap();
    let headers = &left["properties"]["headers"];
    assert_eq!((&headers["cloudEvents:id"], &headers["dead:reason"]), (&"unreadable".into(), &"undecodable".into()));
    assert_eq!(vhost.get("e-conomic-webhooks.dead").await, None);
    assert_eq!(vhost.get("e-conomic-webhooks").await, None);
}

#[test]
fn embed_says_which_variable_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let accounts = folder.path().join("accounts.json");
    std::fs::write(&accounts, "{}").unwrap();
    let end = Program::start("embed", &[("ACCOUNTS_FILE", accounts.to_str().unwrap())]).wait();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.stderr.iter().any(|line| line.contains("QUEUE_URL: is not set")), "{end:?}");
}

async fn publish(url: &str, events: &[&Event]) {
    let mut env = Env::from_pairs([("QUEUE_URL", url)]);
    let config = QueueConfig::from_env(&mut env, Role::Forwarder);
    env.finish().unwrap();
    let publisher = Publisher::open(&config).unwrap();
    for event in events {
        publisher.publish(event, Instant::now() + Duration::from_secs(10)).await.unwrap();
    }
    publisher.close().await;
}
