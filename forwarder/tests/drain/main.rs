//! What a fallback took is moved to the first queue, by the command and by the function, and nothing is lost on the way.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure here fails the test")]

mod circle;
mod command;
mod function;
mod refusals;
mod stage;

use std::time::Duration;

/// No test waits longer for anything: longer than a message is held by a drain that was killed.
const PATIENCE: Duration = Duration::from_secs(90);
