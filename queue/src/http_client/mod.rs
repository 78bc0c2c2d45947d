//! HTTP as RabbitMQ's management API, SQS and SNS are asked: connections that are kept open, and one TLS configuration. For
//! the forwarder, so that there is only one of both; no part of the crate's interface.

mod connections;
mod tls;

pub use connections::Connections;
pub use tls::client_config;
