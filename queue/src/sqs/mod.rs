//! Amazon SQS, standard and FIFO.
//!
//! An event is one message, a CloudEvent in structured mode (`wire`), sent with what a consumer writes on it beside
//! (`message`). The SDK signs, retries and reads the answers (`client`); its requests travel over the HTTP client that
//! the rest of this crate uses (`transport`), those for credentials too, where the standard chain is asked for them
//! (`standard_chain`). What is published, or deleted, at the same time shares requests (`gather`).
//!
//! A subscriber's tasks receive and keep the leases (`keeper`) of everything that is held (`leases`), the app's share and
//! what waits for it (`inbox`). How a delivery ends is in `lease`; why a message came again in `suspicion`; and
//! what is run alone for that, in `suspects` and `notes`.
//!
//! A Lambda function is handed batches (`batch`), and settles them by `trigger`.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod golden;
mod wire;

mod address;
#[cfg(feature = "aws_config")]
mod anywhere;
mod client;
#[cfg(feature = "aws_config")]
mod standard_chain;
mod transport;

mod message;

mod gather;
mod publish;
mod sends;

mod take;

mod dead_letters;
mod deletes;
mod inbox;
mod keeper;
mod lease;
mod leases;
mod notes;
mod sort;
mod subscribe;
mod suspects;
mod suspicion;
mod visibility;

mod drain;

mod batch;
mod trigger;

mod admin;

pub(crate) use address::Address;
pub(crate) use admin::{check, setup};
pub use batch::{SqsBatch, SqsBatchItemFailure, SqsBatchResponse, SqsRecord};
pub(crate) use drain::drain;
pub(crate) use lease::Lease;
pub(crate) use publish::Publisher;
pub(crate) use subscribe::Subscriber;
pub use trigger::{SqsTrigger, Triggered};
pub use wire::{Undecodable, decode};

/// SQS's limit on a message: its body and its attributes together.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
