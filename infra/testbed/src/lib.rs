//! What the tests run against: private RabbitMQ brokers, an emulator of SQS, a proxy that breaks the network, and the
//! platforms that functions run on.
//!
//! Everything here is real and private: a broker has its own ports, folder, cookie and certificate authority on
//! 127.0.0.1, and dies with the test process, even with one that is killed. What cannot work panics, with the line
//! that mends it.
#![expect(clippy::expect_used, reason = "a test bed that does not stand fails the test")]

mod tools;

mod node;

mod management;

mod broker;
mod vhost;

mod moto;
mod program;
mod proxy;
mod sqs;
pub mod sqs_event;
mod sqs_stand_in;
mod wait;

mod azure;
mod azure_request;
mod http;
mod https;
mod lambda;
mod secrets;

mod figures;

pub use azure::{AzureHost, Mode};
pub use broker::Broker;
pub use figures::{figures, long, row};
pub use https::HttpsServer;
pub use lambda::LambdaApi;
pub use moto::Moto;
pub use program::{Program, run};
pub use proxy::Proxy;
pub use secrets::SecretsExtension;
pub use sqs::{SqsQueue, SqsServer};
pub use sqs_stand_in::{Fate, SqsStandIn};
pub use tools::{Version, cargo_lambda, has_v4, moto_server, node_senders, pika_python, python_senders, versions};
pub use vhost::Vhost;
pub use wait::{eventually, in_time};
