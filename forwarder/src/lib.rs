#![doc = include_str!("../README.md")]

mod config;
mod sources;

mod service;

mod admission;
mod answer;
mod body;
mod event;
mod query;
mod route;

mod standalone;

pub use webhook_queue::{
    ConfigError, Env, Event, Publish, PublishError, Publisher, QueueConfig, QueueUrl, Readiness, chain,
};

pub use config::ForwarderConfig;
pub use service::{Arrival, Forwarder};
pub use sources::AddressList;
pub use standalone::{listen, serve, shutdown_signal};
