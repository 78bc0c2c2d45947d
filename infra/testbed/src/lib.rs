//! What the tests run against: private RabbitMQ brokers, and a proxy that cuts and stalls.
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

mod proxy;
mod wait;

mod figures;

pub use broker::Broker;
pub use figures::{figures, long, row};
pub use proxy::Proxy;
pub use tools::{Version, has_v4, pika_python, versions};
pub use vhost::Vhost;
pub use wait::eventually;
