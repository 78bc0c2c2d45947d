//! What providers say in their events, as arguments of handlers.
//!
//! Each type here is read from an event by `TryFrom<&Event>`, and so can be the argument of a handler. An event that it
//! cannot be read from is dead-lettered at once, with the reason `undecodable` and a text that says what to set up.
//!
//! ```
//! use webhook_consumer::Router;
//! use webhook_consumer::providers::{e_conomic, fatture_in_cloud};
//!
//! async fn product(change: e_conomic::Change) {
//!     println!("product {}", change.number());
//! }
//!
//! async fn invoices(notification: fatture_in_cloud::Notification) {
//!     println!("{} of {}: {:?}", notification.resource, notification.company, notification.ids);
//! }
//!
//! let router = Router::<()>::new()
//!     .on("e-conomic/product-updated", product)
//!     .on("fatture-in-cloud/it.fattureincloud.webhooks.issued_documents.invoices.*", invoices);
//! ```

use std::borrow::Cow;

use webhook_queue::BoxError;

mod text;

pub mod cloudevents;
pub mod e_conomic;
pub mod ecovelo;
pub mod fatture_in_cloud;

/// Why an event is not what it was to be read as.
///
/// Its `Display` says what is wrong, and what to set up where that would help. It never quotes the event; its source may.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Unreadable {
    text: Cow<'static, str>,
    source: Option<BoxError>,
}

impl Unreadable {
    fn new(text: impl Into<Cow<'static, str>>) -> Unreadable {
        Unreadable { text: text.into(), source: None }
    }

    fn because(text: &'static str, source: impl Into<BoxError>) -> Unreadable {
        Unreadable { text: text.into(), source: Some(source.into()) }
    }
}

/// Makes an argument of handlers of what can be read from an event.
macro_rules! argument {
    ($type:ty $(, $parameter:ident)?) => {
        impl<S: Sync $(, $parameter: serde::de::DeserializeOwned)?> $crate::FromDelivery<S> for $type {
            async fn from_delivery(call: &$crate::Call, _: &S) -> Result<Self, $crate::Outcome> {
                <$type>::try_from(call.event()).map_err($crate::Outcome::undecodable)
            }
        }
    };
}
use argument;
