#![doc = include_str!("../README.md")]

#[cfg(not(any(feature = "rabbitmq", feature = "sqlite")))]
compile_error!("webhook-queue needs a backend: enable its cargo feature `rabbitmq`, `sqlite`, or both");

mod chain;
mod env;
mod event;

mod config;
mod topology;

mod publish;
mod subscribe;

mod admin;

#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use admin::{Finding, Level, Report, check, setup};
pub use chain::chain;
pub use config::{QueueConfig, QueueType, QueueUrl, Role};
pub use env::{ConfigError, Env, Problem, duration, list, size, yes_or_no};
pub use event::{Event, Http, IdOrigin, Verified, format_time, parse_time};
pub use publish::{Publish, PublishError, Publisher, Readiness};
pub use subscribe::{
    DeadLetter, Delivery, LeaseLost, Reason, Received, ReplayError, Settlement, State, Subscribe, Subscriber,
};
pub use topology::{RETRY_TIERS, Topology};

/// What a failure was caused by, when the caller needs the text but not the type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
