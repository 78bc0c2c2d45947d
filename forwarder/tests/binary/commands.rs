//! `setup`, `check`, and the arguments.

use insta::assert_snapshot;

use crate::process::run;

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
