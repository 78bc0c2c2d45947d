//! Amazon SQS: publishing, and taking back what was published.
//!
//! An event is one message, a CloudEvent in structured mode (`wire`). The SDK signs, retries and reads the answers
//! (`client`); its requests travel over the HTTP client that the rest of this crate uses (`transport`).

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod golden;
mod wire;

mod address;
mod client;
mod transport;

mod publish;

mod drain;
mod take;

mod admin;

pub(crate) use address::Address;
pub(crate) use admin::{check, setup};
pub(crate) use drain::drain;
pub(crate) use publish::Publisher;
pub use wire::{Undecodable, decode};

/// SQS's limit on a message: its body and its attributes together.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
