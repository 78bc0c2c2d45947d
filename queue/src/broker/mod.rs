//! What RabbitMQ is told in the same words over AMQP and over its management API: the message of an event, the arguments
//! of its queues; and the management API itself, which checks what AMQP does not show.

mod alarms;
mod arguments;
mod check;
mod client;
mod properties;

pub(crate) use alarms::{ALARMS, Alarms};
#[cfg(feature = "rabbitmq")]
pub(crate) use arguments::{Arguments, retry_queue, suspect_queue};
pub(crate) use arguments::{dead_queue, main_queue};
#[cfg(feature = "rabbitmq")]
pub(crate) use check::note_vanishing_perhaps;
pub(crate) use check::{done, look_closer, note_dead_letters, note_missing};
#[cfg(feature = "rabbitmq_http")]
pub(crate) use client::CallError;
pub(crate) use client::{Answer, Client};
pub(crate) use properties::{APP_ID, MAX_HEADER_BYTES, PERSISTENT, Properties, routing_key};
#[cfg(feature = "rabbitmq")]
pub(crate) use properties::{ATTRIBUTE, FRAME_BYTES_AROUND, TRACEPARENT, TRACESTATE};
