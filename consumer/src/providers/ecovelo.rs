//! Ecovelo's webhooks: what happened is a topic, such as `trip.terminated`.
//!
//! The bodies are not documented: take them as [`Json`](crate::Json) of what you have seen, or as [`Bytes`](crate::Bytes).
//! The topic is in the URL that you subscribe with, `/webhooks/ecovelo/trip.terminated`. Topics overtake each other: Ecovelo
//! promises no order, so fetch the current state.
//!
//! ```
//! use webhook_consumer::providers::ecovelo::Topic;
//! use webhook_consumer::{Bytes, Router};
//!
//! async fn trip(topic: Topic, body: Bytes) {
//!     match topic.event.as_str() {
//!         "terminated" => println!("a trip has ended: {} bytes about it", body.len()),
//!         other => println!("{other}"),
//!     }
//! }
//! # let _ = Router::<()>::new().on("ecovelo/trip.*", trip);
//! ```

use std::fmt;

use webhook_queue::Event;

use super::{Unreadable, argument};

/// What has happened to what. Neither is a closed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// What it has happened to: `trip`, `cyclist`, `abonnement`, `boitier`, …
    pub resource: String,
    /// What has happened: `terminated`, `created`, `pass.unrecognized`, …
    pub event: String,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.resource, self.event)
    }
}

impl TryFrom<&Event> for Topic {
    type Error = Unreadable;

    fn try_from(event: &Event) -> Result<Topic, Unreadable> {
        match event.event_type.split_once('.') {
            Some((resource, event)) if !resource.is_empty() && !event.is_empty() => {
                Ok(Topic { resource: resource.to_owned(), event: event.to_owned() })
            }
            _ => Err(Unreadable::new(
                "the event's type is no topic of Ecovelo: the URL of a subscription should end like \
                 /webhooks/ecovelo/trip.terminated, with its topic",
            )),
        }
    }
}
argument!(Topic);

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(event_type: &str) -> Option<(String, String)> {
        let topic = Topic::try_from(&Event::new("ecovelo", event_type, "")).ok()?;
        assert_eq!(topic.to_string(), event_type);
        Some((topic.resource, topic.event))
    }

    #[test]
    fn a_topic_is_a_resource_and_an_event() {
        for (event_type, resource, event) in [
            ("trip.terminated", "trip", "terminated"),
            ("vehicule.position.forbidden", "vehicule", "position.forbidden"),
            ("boitier.chain_type.updated", "boitier", "chain_type.updated"),
        ] {
            assert_eq!(topic(event_type), Some((resource.to_owned(), event.to_owned())));
        }
        for event_type in ["webhook", "", ".", "trip.", ".created"] {
            assert_eq!(topic(event_type), None, "{event_type}");
        }
    }
}
