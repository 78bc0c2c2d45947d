#![doc = include_str!("../README.md")]

#[cfg(not(any(feature = "rabbitmq", feature = "rabbitmq_http", feature = "sqs", feature = "sqlite")))]
compile_error!("webhook-queue needs a backend: enable one of `rabbitmq`, `rabbitmq_http`, `sqs` and `sqlite`");

mod chain;
mod env;
mod event;
#[cfg(all(test, any(feature = "rabbitmq", feature = "rabbitmq_http", feature = "sqs")))]
mod golden;
#[cfg(feature = "http_client")]
mod moment;

mod config;
mod credentials;
mod publish_url;
mod queue_url;
mod queues;
mod topology;

mod counts;
#[cfg(feature = "sqlite")]
mod keep_draining;
mod ladder;
mod publish;
#[cfg(any(feature = "rabbitmq", feature = "sqs", feature = "sqlite"))]
mod subscribe;

mod admin;
mod drain;
#[cfg(any(feature = "sqs", feature = "sqlite"))]
mod pace;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(feature = "http_client")]
#[doc(hidden)]
pub mod http_client;

#[cfg(any(feature = "rabbitmq", feature = "rabbitmq_http"))]
mod broker;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "rabbitmq_http")]
mod rabbitmq_http;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqs")]
mod sqs;

pub use admin::{Finding, Level, Report, check, setup};
pub use chain::chain;
pub use config::{QueueConfig, QueueType, Role};
pub use counts::Counts;
pub use credentials::AwsCredentials;
pub use drain::{DrainError, Drained, drain};
pub use env::{ConfigError, Env, Problem, duration, list, size, yes_or_no};
pub use event::{Event, Http, IdOrigin, Verified, format_time, parse_time};
#[cfg(feature = "sqlite")]
pub use keep_draining::keep_draining;
pub use publish::{Publish, PublishError, Publisher, Readiness};
pub use publish_url::PublishUrl;
pub use queue_url::QueueUrl;
#[cfg(feature = "sqs")]
pub use sqs::{
    SqsBatch, SqsBatchItemFailure, SqsBatchResponse, SqsRecord, SqsTrigger, Triggered, Undecodable,
    decode as decode_sqs,
};
#[cfg(any(feature = "rabbitmq", feature = "sqs", feature = "sqlite"))]
pub use subscribe::{
    DeadLetter, Delivery, LeaseLost, Reason, Received, ReplayError, Settlement, State, Subscribe, Subscriber,
};
pub use topology::{RETRY_TIERS, Topology};

/// What a failure was caused by, when the caller needs the text but not the type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
