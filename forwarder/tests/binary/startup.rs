//! What the program says when it cannot start, and when it does.

use insta::assert_snapshot;

use crate::process::{Forwarder, exchange, post, run, status};

fn refusal(variables: &[(&str, &str)]) -> String {
    let output = run(&[], variables);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_program_without_a_source_says_what_to_set() {
    assert_snapshot!(refusal(&[]), @"webhook-forwarder: SOURCE_<NAME>_ACCESS_KEY: no source is configured, so nothing could be received: set for example SOURCE_E_CONOMIC_ACCESS_KEY to a long random key, and send webhooks to /webhooks/e-conomic?key=<key>");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    assert_snapshot!(refusal(&[
        ("SOURCE_SHOP_ACESS_KEY", "s3cret"),
        ("SOURCE_SHOP_OPEN", "true"),
        ("QUEUE_URL", "amqps:user:s3cret@host"),
        ("QUEUE_TLL", "1d"),
        ("LISTEN", "8080"),
        ("MAX_BODY_BYTES", "6 megs"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "=="),
        ("TRUSTED_PROXIES", "nginx"),
    ]), @r#"
        webhook-forwarder: LOG_FORMAT: 'xml' is neither text nor json
        webhook-forwarder: RUST_LOG: '==' is not a log filter, like info or warn,lapin=error
        webhook-forwarder: LISTEN: '8080' is not an address and port, like 127.0.0.1:8080 or [::]:8080
        webhook-forwarder: TRUSTED_PROXIES: 'nginx' is neither an address, nor a range like 10.0.0.0/8, nor the preset e-conomic
        webhook-forwarder: MAX_BODY_BYTES: '6 megs' is not a size: write bytes, or a number and a unit, like 6291456 or 64MiB
        webhook-forwarder: SOURCE_SHOP_OPEN: can only be yes: then everybody may send to this source
        webhook-forwarder: SOURCE_SHOP_ACESS_KEY: is not a known variable: was SOURCE_SHOP_ACCESS_KEY meant?
        webhook-forwarder: QUEUE_URL: must be an amqp:// or amqps:// address, that of a management API or of an SQS queue, or sqlite:path
        webhook-forwarder: QUEUE_TLL: is not a known variable: was QUEUE_TTL meant?
        "#);
}

#[test]
fn others_may_connect_only_to_a_queue_that_was_named() {
    assert_snapshot!(refusal(&[("LISTEN", "0.0.0.0:0"), ("SOURCE_SHOP_OPEN", "yes")]), @"webhook-forwarder: QUEUE_URL: is not set: a forwarder that others can reach needs an explicit queue, like amqps://user:password@host/vhost");
}

#[test]
fn a_taken_port_is_named() {
    let first = Forwarder::start(&[]);
    let address = first.address.to_string();
    let output = run(&[], &[("LISTEN", &address), ("SOURCE_DEMO_OPEN", "yes")]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("LISTEN: cannot listen on {address}: Address already in use")), "{stderr}");
}

#[test]
fn the_log_begins_with_what_is_served_and_how_it_is_protected() {
    let mut forwarder = Forwarder::start(&[
        ("SOURCE_E_CONOMIC_ACCESS_KEY", "s3cret"),
        ("SOURCE_E_CONOMIC_ALLOW_IPS", "127.0.0.1"),
        ("MAX_BODY_BYTES", "1GiB"),
        ("MAX_IN_FLIGHT_BYTES", "2GiB"),
    ]);
    forwarder.wait_for_line("receiving at /webhooks/demo: open to everybody");
    forwarder.wait_for_line("receiving at /webhooks/e-conomic: access key and address list");
    forwarder.signal("TERM");
    let path = forwarder.queue_file().canonicalize().unwrap();
    let (code, log) = forwarder.wait();
    assert_eq!(code, Some(0));
    assert!(log.contains(&format!("publishing to sqlite:{}", path.display())), "{log}");
    assert!(log.contains("bytes, less than MAX_BODY_BYTES (1073741824): longer ones are answered 413"), "{log}");
    assert!(!log.contains("s3cret"));
}

#[test]
fn a_log_line_names_source_and_reason_and_nothing_else() {
    let forwarder = Forwarder::start(&[("LOG_FORMAT", "json"), ("SOURCE_SHOP_ACCESS_KEY", "right")]);
    let request = post("/webhooks/shop/s3cret?key=s3cret", b"x-webhook-key: s3cret\r\n", b"s3cret");
    assert_eq!(status(&exchange(forwarder.connect(), &request)), 401);
    forwarder.signal("INT");
    let (code, log) = forwarder.wait();
    assert_eq!(code, Some(0));
    let refused = log.lines().find(|line| line.contains("refused")).unwrap();
    let mut line: serde_json::Value = serde_json::from_str(refused).unwrap();
    line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert_snapshot!(line.to_string(), @r#"{"http.status":401,"level":"WARN","message":"webhook refused: the access key is missing or wrong","source.name":"shop"}"#);
    assert!(!log.contains("s3cret"));
}
