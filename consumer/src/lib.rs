#![doc = include_str!("../README.md")]

mod config;
mod error;

mod pattern;
mod router;

mod call;
mod extract;
mod handler;
mod outcome;

mod chain;
mod dispatch;
mod policy;

mod consumer;
mod handle;
mod run;
mod signals;

#[cfg(feature = "lambda")]
mod lambda;

pub mod providers;
pub mod testing;

pub use bytes::Bytes;
pub use webhook_queue::{
    BoxError, DeadLetter, Env, Event, Http, IdOrigin, QueueConfig, QueueType, QueueUrl, Reason, Settlement,
    State as QueueState, Verified, chain,
};
#[cfg(feature = "lambda")]
pub use webhook_queue::{SqsBatch, SqsBatchItemFailure, SqsBatchResponse, SqsRecord};

pub use call::{Call, HandlerService};
pub use consumer::Consumer;
pub use dispatch::Unhandled;
pub use error::Error;
pub use extract::{Attempt, Form, FromDelivery, FromRef, Json, Query, State};
pub use handle::{Counts, Handle, Health, Summary};
pub use handler::Handler;
#[cfg(feature = "lambda")]
pub use lambda::BatchHandler;
pub use outcome::{IntoOutcome, Outcome};
pub use router::Router;
