//! The embedded queue: one SQLite file, shared by the processes of one host.
//!
//! An event is a row of `events` that never changes. Where it stands is a small row beside it: in `deliveries` while
//! it waits or is held, in `dead_letters` afterwards. Everything that a caller is told has been committed with
//! `synchronous=FULL` before.
//!
//! The async side never touches the file. Each publisher owns one thread that writes what is queued, many events to a
//! commit (`writer`); each subscriber owns one that claims, settles and extends leases (`keeper`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod file;
mod schema;
mod store;

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod wire;

mod publish;
mod writer;

mod claim;
mod dead_letters;
mod keeper;
mod lease;
mod settle;
mod subscribe;
mod wake;

mod admin;
mod drain;
mod pass;

pub(crate) use admin::{check, setup};
pub(crate) use drain::{drain, drain_once, rest};
pub(crate) use lease::Lease;
pub(crate) use pass::Pass;
pub(crate) use publish::Publisher;
pub(crate) use subscribe::Subscriber;

/// The wall clock in milliseconds since 1970: the one clock that all processes of a host share.
fn now_ms() -> i64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
