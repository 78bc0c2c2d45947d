//! HTTP as RabbitMQ's management API and SQS are asked: connections that are kept open, and one TLS configuration.

mod connections;
mod tls;

pub(crate) use connections::Connections;
pub(crate) use tls::client_config;
