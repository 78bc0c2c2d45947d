//! The forwarder as a provider sees it: bytes in and bytes out, over TCP, from the standalone host.
#![expect(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod bodies;
mod connections;
mod e_conomic;
mod events;
mod fatture_in_cloud;
mod guard;
mod handshakes;
mod library;
mod log;
mod providers;
mod readme;
mod refusals;
mod secrets;
mod stopping;
mod support;
mod tenants;
mod token;
