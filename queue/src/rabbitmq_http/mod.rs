//! RabbitMQ through its management API: publishing only, as e-conomic's guide does it.
//!
//! The broker publishes each message mandatory, on a confirming channel, and answers when it was confirmed or returned.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;

mod answer;
mod publish;
mod watch;
mod wire;

mod admin;

pub(crate) use admin::{check, setup};
pub(crate) use publish::Publisher;
