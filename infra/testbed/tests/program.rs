//! Programs that never get to the point: nobody waits for them for ever, and none is left.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

use testbed::{Program, run};

/// Says something all the time.
const CHATTER: [&str; 2] = ["-c", "while :; do echo still here; sleep 0.01; done"];
const WITHIN: Duration = Duration::from_millis(300);

fn panics_with(said: &str, wait: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(wait)).unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains(said), "{message}");
}

#[test]
fn chatter_prolongs_no_wait_for_a_line() {
    let mut program = Program::start(Command::new("sh").args(CHATTER));
    assert_eq!(program.line_with("still", Duration::from_secs(20)), "still here");
    let began = Instant::now();
    panics_with("still here", || drop(program.line_with("the point", WITHIN)));
    assert!(began.elapsed() < WITHIN * 10, "{:?}", began.elapsed());
    let process = program.id();
    drop(program);
    assert!(!run(Command::new("ps").args(["-p", &process.to_string()])).status.success(), "it is left");
}

#[test]
fn silence_is_not_waited_for() {
    let mut program = Program::start(Command::new("sh").args(["-c", "echo first; exec sleep 600"]));
    assert_eq!(program.line(Instant::now() + Duration::from_secs(20)).as_deref(), Some("first"));
    panics_with("first", || drop(program.line(Instant::now() + WITHIN)));
}

#[test]
fn what_was_said_before_the_end_is_kept_and_what_was_broken_off_is_not() {
    let program = Program::start(Command::new("sh").args(["-c", "echo one; echo two; printf half; exit 3"]));
    assert_eq!(program.wait(), (Some(3), vec!["one".to_owned(), "two".to_owned()]));
    let ran = run(Command::new("sh").args(["-c", "echo out; echo err >&2; sleep 5 & exit 4"]));
    assert_eq!((ran.status.code(), &ran.stdout[..], &ran.stderr[..]), (Some(4), &b"out\n"[..], &b"err\n"[..]));
}
