//! The fault table: what happens to webhooks while RabbitMQ fails in every way we know.
//!
//! Every webhook that was answered 200 must be found on the queue afterwards, no answer may come later than any
//! provider waits, and publishing must work again soon after the fault is over, without a restart.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod forwarder;
mod found;
mod ladders;
mod load;
mod outage;
mod scenarios;
mod table;

use std::time::Duration;

/// How many webhooks each fault sees.
fn webhooks() -> usize {
    if testbed::long() { 2_000 } else { 1_000 }
}

const QUEUE: &str = "e-conomic-webhooks";
const EXCHANGE: &str = "e-conomic.direct";
const AT_ONCE: usize = 64;
/// The number of a webhook that only asks whether publishing works. It may be sent again and again.
const PROBE: usize = usize::MAX;
/// How long a fault lasts that does not say otherwise: longer than one publish may take.
const FAULT: Duration = Duration::from_secs(3);
/// What the most impatient provider waits.
const LATEST_ANSWER: Duration = Duration::from_secs(3);
/// How soon after the end of a fault a webhook must be confirmed again.
const LATEST_RECOVERY: Duration = Duration::from_secs(5);
