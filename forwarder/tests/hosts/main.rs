//! One webhook is the same event on every host: its own server, AWS Lambda behind its real runtime loop, and a stand-in for
//! the Azure Functions host, all in front of a real RabbitMQ.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod client;
mod function;
mod message;
mod requests;
mod stage;

mod azure;
mod fixtures;
mod freeze;
mod lambda;
mod refusals;
mod same_event;
mod secrets;

use std::time::Duration;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the most impatient provider waits.
const LATEST_ANSWER: Duration = Duration::from_secs(3);
/// The key of the sources that have one.
const KEY: &str = "k3y-k3y";
