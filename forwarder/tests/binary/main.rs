//! The real program: how it starts, serves real queues, and stops.
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod commands;
mod process;
mod rabbitmq;
mod rabbitmq_http;
mod secrets;
mod senders;
mod serving;
mod startup;
