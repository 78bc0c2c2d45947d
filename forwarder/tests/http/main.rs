//! The forwarder as a provider sees it: bytes in and bytes out, over TCP, from the standalone host.
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod bodies;
mod connections;
mod events;
mod library;
mod refusals;
mod stopping;
mod support;
