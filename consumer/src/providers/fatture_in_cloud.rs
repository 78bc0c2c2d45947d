//! Fatture in Cloud's notifications: which of a company's documents, clients, products and so on have changed.
//!
//! A notification names the entities and says nothing else about them: fetch each through the API. It may come more than
//! once. Both mappings of a subscription, `binary` and `structured`, are read alike.
//!
//! ```
//! use webhook_consumer::Router;
//! use webhook_consumer::providers::fatture_in_cloud::Notification;
//! use webhook_consumer::testing::{End, Kit, fatture_in_cloud};
//!
//! async fn invoices(Notification { company, action, ids, .. }: Notification) {
//!     for id in ids {
//!         match action.as_str() {
//!             "delete" => println!("forget invoice {id} of {company}"),
//!             _ => println!("fetch /c/{company}/issued_documents/{id}"),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let pattern = "fatture-in-cloud/it.fattureincloud.webhooks.issued_documents.invoices.*";
//! let kit = Kit::new(Router::new().on(pattern, invoices)).unwrap();
//! // In a test:
//! let created = fatture_in_cloud("issued_documents.invoices.create", 108061, &[3062300]);
//! assert_eq!(kit.deliver(created).await.end, End::Acked);
//! # }
//! ```

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use webhook_queue::Event;

use super::cloudevents::CloudEvent;
use super::{Unreadable, argument};

/// What all types begin with.
pub const TYPE_PREFIX: &str = "it.fattureincloud.webhooks.";

/// The one type that needs no ids: a subscription has been verified.
const WELCOME: (&str, &str) = ("subscriptions", "welcome");

/// What has happened to which entities of a company.
///
/// The ids are numbers in all of the provider's examples; where they are something else, say so:
/// `Notification<String>`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification<I = u64> {
    /// Whose entities they are.
    pub company: u64,
    /// What they are: `issued_documents.invoices`, `entities.clients`, `products`, … Not a closed list.
    pub resource: String,
    /// What has happened: `create`, `update`, `delete`, `email_sent`, … Not a closed list.
    pub action: String,
    /// Which: one, or several at once. None for `subscriptions` and `welcome`, the greeting to a new subscription.
    pub ids: Vec<I>,
}

impl<I: DeserializeOwned> TryFrom<&Event> for Notification<I> {
    type Error = Unreadable;

    fn try_from(event: &Event) -> Result<Notification<I>, Unreadable> {
        let event: CloudEvent<Value> = event.try_into()?;
        let what = event.event_type.strip_prefix(TYPE_PREFIX).and_then(|what| what.rsplit_once('.'));
        let (resource, action) = what.ok_or_else(|| Unreadable::new("the type is none of Fatture in Cloud's"))?;
        let company = event.subject.as_deref().and_then(|subject| subject.strip_prefix("company:")?.parse().ok());
        Ok(Notification {
            company: company.ok_or_else(|| Unreadable::new("the subject is not `company:` and its number"))?,
            resource: resource.to_owned(),
            action: action.to_owned(),
            ids: ids(event.data, (resource, action) == WELCOME)?,
        })
    }
}
argument!(Notification<I>, I);

/// The ids of `{"ids":[…]}`, which in binary mode is in an object of its own.
fn ids<I: DeserializeOwned>(data: Value, is_welcome: bool) -> Result<Vec<I>, Unreadable> {
    let ids = data.pointer("/data/ids").or_else(|| data.get("ids"));
    match ids {
        Some(ids) => Vec::deserialize(ids)
            .map_err(|error| Unreadable::because("the ids are not what the handler expects", error)),
        None if is_welcome => Ok(Vec::new()),
        None => Err(Unreadable::new("there are no ids in the notification")),
    }
}

#[cfg(test)]
mod tests;
