//! `setup`, `check`, and the arguments.

use insta::assert_snapshot;

use crate::process::{Forwarder, exchange, post, run, status};

#[test]
fn help_and_version_are_printed() {
    let help = run(&["--help"], &[]);
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("webhook-forwarder setup"));
    let version = run(&["-V"], &[]);
    assert_eq!(String::from_utf8(version.stdout).unwrap(), "webhook-forwarder 0.1.0\n");
}

#[test]
fn an_unknown_argument_is_refused() {
    for arguments in [&["serve"][..], &["--port=1"], &["setup", "now"]] {
        let output = run(arguments, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("see webhook-forwarder --help"));
    }
}

#[test]
fn the_url_of_a_tenant_is_printed_and_accepted() {
    let master = [("SOURCE_E_CONOMIC_MASTER_KEY", "0123456789abcdef0123456789abcdef")];
    let output = run(&["url", "https://hooks.example", "e-conomic", "123456", "product-updated"], &master);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let url = String::from_utf8(output.stdout).unwrap();
    assert_snapshot!(url, @"https://hooks.example/webhooks/e-conomic/product-updated?tenant=123456&key=52fed2b5a3b79bf68ef4c2b619e6b18d539c53ab8f64a0ae3819447350636183&newnumber=[NEWNUMBER]&oldnumber=[OLDNUMBER]");
    let forwarder = Forwarder::start(&master);
    let target = url.trim_end().replace("https://hooks.example", "").replace("[NEWNUMBER]", "33");
    assert_eq!(status(&exchange(forwarder.connect(), &post(&target, b"", b""))), 200);
    let of_another = target.replace("123456", "123457");
    assert_eq!(status(&exchange(forwarder.connect(), &post(&of_another, b"", b""))), 401);

    for arguments in [&["url"][..], &["url", "https://hooks.example", "e-conomic"], &["url", "a", "b", "c", "d", "e"]] {
        let output = run(arguments, &master);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
}

#[test]
fn a_queue_is_checked_before_and_after_setup() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("queue.db").display());
    let output = run(&["check"], &[("QUEUE_URL", &url)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("mend: webhook-forwarder setup"));

    let output = run(&["setup"], &[("QUEUE_URL", &url)]);
    assert!(output.status.success() && !output.stdout.is_empty());
    let output = run(&["check"], &[("QUEUE_URL", &url)]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("ok "));
}

#[test]
fn a_command_needs_no_source_but_a_sound_queue() {
    let output = run(&["check"], &[("QUEUE_URL", "kafka://host")]);
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @"webhook-forwarder: QUEUE_URL: must be an amqp:// or amqps:// address, that of a management API or of an SQS queue, or sqlite:path; 'kafka:' is not supported");
}
