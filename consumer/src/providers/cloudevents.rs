//! CloudEvents of any provider.
//!
//! ```
//! use serde::Deserialize;
//! use webhook_consumer::Router;
//! use webhook_consumer::providers::cloudevents::CloudEvent;
//! use webhook_consumer::testing::{End, Kit, event};
//!
//! #[derive(Deserialize)]
//! struct Blob { url: String }
//!
//! async fn blob(event: CloudEvent<Blob>) {
//!     println!("{} has {}", event.source, event.data.url);
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let kit = Kit::new(Router::new().on("cloudevents/*", blob)).unwrap();
//! let created = event("cloudevents/Microsoft.Storage.BlobCreated")
//!     .cloud_event("/storage/1", &serde_json::json!({ "url": "https://example.net/a" }));
//! assert_eq!(kit.deliver(created).await.end, End::Acked);
//! # }
//! ```

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use webhook_queue::{Event, parse_time};

use super::{Unreadable, argument, text};

const SPEC_VERSION: &str = "1.0";

/// A CloudEvent 1.0 as its producer has sent it: attributes in headers or in the body ("binary" or "structured" mode),
/// whatever the content type.
///
/// The data is JSON. It may be missing where `T` can be `null`: `()`, an `Option`, a [`Value`]. Data that is not JSON is the
/// event's [`Bytes`](crate::Bytes). A batch of several is [`Json`](crate::Json) of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloudEvent<T> {
    /// Unique together with `source`. ([`Event::id`] holds both.)
    pub id: String,
    /// The producer's own name of where it happened.
    pub source: String,
    /// What happened.
    pub event_type: String,
    /// What it happened to.
    pub subject: Option<String>,
    /// When it happened, where that can be read.
    pub time: Option<SystemTime>,
    /// The media type of the data.
    pub data_content_type: Option<String>,
    /// The schema of the data.
    pub data_schema: Option<String>,
    /// All other attributes, as text.
    pub extensions: BTreeMap<String, String>,
    /// The data.
    pub data: T,
}

impl<T: DeserializeOwned> TryFrom<&Event> for CloudEvent<T> {
    type Error = Unreadable;

    fn try_from(event: &Event) -> Result<CloudEvent<T>, Unreadable> {
        let in_headers = event.header("ce-id").is_some();
        let (mut attributes, data) = if in_headers { binary(event)? } else { structured(event)? };
        let mut take = |name: &str| attributes.remove(name).filter(|value| !value.is_empty());
        if take("specversion").as_deref() != Some(SPEC_VERSION) {
            return Err(Unreadable::new("the CloudEvent is not of version 1.0, or does not say of which it is"));
        }
        let (Some(id), Some(source), Some(event_type)) = (take("id"), take("source"), take("type")) else {
            return Err(Unreadable::new("the CloudEvent has no `id`, no `source` or no `type`"));
        };
        Ok(CloudEvent {
            id,
            source,
            event_type,
            subject: take("subject"),
            time: take("time").and_then(|time| parse_time(&time)),
            data_content_type: take("datacontenttype"),
            data_schema: take("dataschema"),
            extensions: attributes,
            data,
        })
    }
}
argument!(CloudEvent<T>, T);

type Read<T> = Result<(BTreeMap<String, String>, T), Unreadable>;

/// Attributes in headers, of each name the first. The body is the data.
fn binary<T: DeserializeOwned>(event: &Event) -> Read<T> {
    let mut attributes = BTreeMap::new();
    for (name, value) in &event.http.headers {
        if let Some(name) = name.to_ascii_lowercase().strip_prefix("ce-") {
            attributes.entry(name.to_owned()).or_insert_with(|| text::unescaped(value.as_bytes()));
        }
    }
    attributes.extend(event.header("content-type").map(|value| ("datacontenttype".to_owned(), value.to_owned())));
    let data = if event.body.is_empty() { json(b"null") } else { json(&event.body) };
    Ok((attributes, data?))
}

/// Everything in the body.
fn structured<T: DeserializeOwned>(event: &Event) -> Read<T> {
    let mut members: Map<String, Value> = serde_json::from_slice(&event.body).map_err(|error| {
        Unreadable::because("this is no CloudEvent: it has no header `ce-id`, and its body is no JSON object", error)
    })?;
    let data = match (members.remove("data"), members.remove("data_base64")) {
        (None, Some(encoded)) => {
            let bytes = STANDARD.decode(encoded.as_str().unwrap_or_default());
            json(&bytes.map_err(|error| Unreadable::because("the CloudEvent's `data_base64` is no Base64", error))?)?
        }
        (data, _) => serde_json::from_value(data.unwrap_or_default()).map_err(unexpected_data)?,
    };
    let attributes = members.into_iter().filter_map(|(name, value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text,
            other => other.to_string(),
        };
        Some((name, text))
    });
    Ok((attributes.collect(), data))
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(bytes).map_err(unexpected_data)
}

fn unexpected_data(error: serde_json::Error) -> Unreadable {
    Unreadable::because("the CloudEvent's data is not what the handler expects", error)
}

#[cfg(test)]
mod tests;
