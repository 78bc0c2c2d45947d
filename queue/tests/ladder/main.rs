//! A queue and its fallback, both real: whatever breaks the first, every event is on one of them.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod draining;
mod faults;
mod load;
mod stage;
