//! The arguments of handlers.

use std::future::Future;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use webhook_queue::{BoxError, Event};

use crate::call::Call;
use crate::outcome::Outcome;

/// An argument that a handler may have: made from the delivery and the router's state, before the handler runs.
///
/// Implement it for what your handlers have in common, a tenant's record for example.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the argument of a handler",
    label = "not an extractor for a router whose state is `{S}`",
    note = "use `Event`, `Json<T>`, `Query<T>`, `Form<T>`, `Bytes`, `State<S>` or `Attempt`, or implement `FromDelivery`"
)]
pub trait FromDelivery<S>: Sized {
    /// Makes the argument. An `Err` is what becomes of the event instead of running the handler:
    /// [`Outcome::undecodable`] where it can never be read, [`Outcome::failed`] where a retry may help.
    fn from_delivery(call: &Call, state: &S) -> impl Future<Output = Result<Self, Outcome>> + Send;
}

/// The body, read as JSON. A body that is not the expected JSON is dead-lettered at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// The request's query, read as `name=value` pairs. One that does not fit is dead-lettered at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

/// The body, read as a form (`application/x-www-form-urlencoded`). One that does not fit is dead-lettered at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form<T>(pub T);

/// The router's state, or a part of it (see [`FromRef`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

/// Which delivery of the event this is, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u32);

/// A part of a router's state, so that each handler can ask for only what it needs.
pub trait FromRef<S> {
    /// Clones the part out of the whole.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> T {
        state.clone()
    }
}

/// Why an event could not be read. Its `Display` never quotes the event; its source may.
#[derive(Debug, thiserror::Error)]
#[error("the {what} cannot be read{}", place(.position))]
struct DecodeError {
    what: &'static str,
    position: Option<(usize, usize)>,
    #[source]
    source: BoxError,
}

fn place(position: &Option<(usize, usize)>) -> String {
    position.map(|(line, column)| format!(", at line {line} column {column}")).unwrap_or_default()
}

fn form_data<T: DeserializeOwned>(what: &'static str, data: &[u8]) -> Result<T, Outcome> {
    serde_urlencoded::from_bytes(data)
        .map_err(|error| Outcome::undecodable(DecodeError { what, position: None, source: error.into() }))
}

impl<S: Sync> FromDelivery<S> for Event {
    async fn from_delivery(call: &Call, _: &S) -> Result<Event, Outcome> {
        Ok(call.event().clone())
    }
}

impl<S: Sync> FromDelivery<S> for Bytes {
    async fn from_delivery(call: &Call, _: &S) -> Result<Bytes, Outcome> {
        Ok(call.event().body.clone())
    }
}

impl<S: Sync> FromDelivery<S> for Attempt {
    async fn from_delivery(call: &Call, _: &S) -> Result<Attempt, Outcome> {
        Ok(Attempt(call.attempt()))
    }
}

impl<S: Sync, T: FromRef<S>> FromDelivery<S> for State<T> {
    async fn from_delivery(_: &Call, state: &S) -> Result<State<T>, Outcome> {
        Ok(State(T::from_ref(state)))
    }
}

impl<S: Sync, T: DeserializeOwned> FromDelivery<S> for Json<T> {
    async fn from_delivery(call: &Call, _: &S) -> Result<Json<T>, Outcome> {
        serde_json::from_slice(&call.event().body).map(Json).map_err(|error| {
            let position = Some((error.line(), error.column()));
            Outcome::undecodable(DecodeError { what: "JSON body", position, source: error.into() })
        })
    }
}

impl<S: Sync, T: DeserializeOwned> FromDelivery<S> for Query<T> {
    async fn from_delivery(call: &Call, _: &S) -> Result<Query<T>, Outcome> {
        form_data("query", call.event().http.query.as_bytes()).map(Query)
    }
}

impl<S: Sync, T: DeserializeOwned> FromDelivery<S> for Form<T> {
    async fn from_delivery(call: &Call, _: &S) -> Result<Form<T>, Outcome> {
        form_data("form body", &call.event().body).map(Form)
    }
}
