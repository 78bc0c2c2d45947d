#![doc = include_str!("../README.md")]

#[cfg(not(any(feature = "standalone", feature = "lambda")))]
compile_error!("webhook-forwarder needs a host: enable its cargo feature `standalone`, `lambda`, or both");

mod config;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod sources;

mod service;

mod admission;
mod answer;
mod body;
mod client;
mod event;
mod guard;
mod panics;
mod query;
mod route;
#[cfg(feature = "standalone")]
mod tenant_url;

#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "standalone")]
mod standalone;

pub use webhook_queue::{
    ConfigError, Env, Event, Publish, PublishError, Publisher, QueueConfig, QueueUrl, Readiness, chain,
};

pub use config::ForwarderConfig;
pub use host::Host;
#[cfg(feature = "lambda")]
pub use lambda::{Secrets, serve_lambda, serve_lambda_with};
#[cfg(all(feature = "lambda", feature = "sqs"))]
pub use lambda::{serve_drain, serve_drain_with};
pub use service::{Arrival, Forwarder};
pub use sources::AddressList;
#[cfg(feature = "standalone")]
pub use standalone::{listen, serve, shutdown_signal};
#[cfg(feature = "standalone")]
pub use tenant_url::tenant_url;
