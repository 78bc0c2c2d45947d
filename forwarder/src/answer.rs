//! The answers: every status that the forwarder gives, and what is logged about it.

use std::error::Error;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
#[cfg(feature = "sns")]
use webhook_queue::BoxError;
use webhook_queue::{PublishError, chain};

/// Why a request was not answered with 200.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("nothing is received at this path")]
    UnknownPath,
    #[error("the method is not allowed here")]
    Method { allowed: &'static str },
    #[error("the request target is longer than {limit} bytes")]
    TargetTooLong { limit: usize },
    #[error("the request has more than {count} headers or {bytes} bytes of them")]
    HeadersTooLarge { count: usize, bytes: usize },
    #[error("the address is not allowed")]
    AddressNotAllowed,
    #[error("the access key is missing or wrong")]
    KeyMissingOrWrong,
    /// The provider's own proof is missing or wrong.
    #[error("{0}")]
    NotProven(&'static str),
    /// What would prove the webhook could not be had.
    #[cfg(feature = "sns")]
    #[error("the provider's own servers, which have what proves the webhook, cannot be asked; send it again")]
    ProviderAway(#[source] BoxError),
    #[error("{0}")]
    Unreadable(&'static str),
    #[error("the body is longer than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error(
        "the body is empty, and the Azure Functions host loses bodies while it forwards requests: set \
         customHandler.enableProxyingHttpRequest to true in host.json"
    )]
    BodyLost,
    #[error("the forwarder failed: {0}")]
    Failed(&'static str),
    #[error("too many webhooks at a time")]
    Overloaded,
    #[error("the queue is not ready")]
    NotReady,
    #[error("the queue has not confirmed the webhook; send it again")]
    NotPublished(#[source] PublishError),
}

impl Refusal {
    pub(crate) const CONTENT_TYPE: &'static str = "application/problem+json";

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Refusal::UnknownPath => StatusCode::NOT_FOUND,
            Refusal::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::TargetTooLong { .. } => StatusCode::URI_TOO_LONG,
            Refusal::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::AddressNotAllowed => StatusCode::FORBIDDEN,
            Refusal::KeyMissingOrWrong | Refusal::NotProven(_) => StatusCode::UNAUTHORIZED,
            Refusal::Unreadable(_) => StatusCode::BAD_REQUEST,
            Refusal::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            #[cfg(feature = "sns")]
            Refusal::ProviderAway(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::BodyLost
            | Refusal::Failed(_)
            | Refusal::Overloaded
            | Refusal::NotReady
            | Refusal::NotPublished(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// One line for the operator. It names the source and the reason, and nothing of the request's own content.
    pub(crate) fn log(&self, source: &str) {
        let status = self.status().as_u16();
        match (self, self.source()) {
            (_, Some(cause)) => {
                let reason = chain(cause);
                tracing::error!(source.name = source, http.status = status, reason, "webhook not taken: {reason}");
            }
            (Refusal::BodyLost | Refusal::Overloaded, _) => {
                tracing::error!(source.name = source, http.status = status, "webhook not taken: {self}");
            }
            _ => tracing::warn!(source.name = source, http.status = status, "webhook refused: {self}"),
        }
    }

    /// As [`Refusal::log`], for a request that has not reached a source. Whoever guesses paths must not be able to fill
    /// the log.
    pub(crate) fn log_before_routing(&self) {
        let status = self.status().as_u16();
        match self {
            Refusal::Failed(_) => tracing::error!(http.status = status, "request not answered: {self}"),
            _ => tracing::info!(http.status = status, "request refused: {self}"),
        }
    }

    /// The body of the answer, as RFC 9457 has it.
    pub(crate) fn problem(&self) -> String {
        let status = self.status();
        let title = status.canonical_reason().unwrap_or_default();
        json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": self.to_string() })
            .to_string()
    }

    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let status = self.status();
        let mut response = Response::new(Full::from(self.problem()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Refusal::CONTENT_TYPE));
        match self {
            Refusal::Method { allowed } => drop(headers.insert(ALLOW, HeaderValue::from_static(allowed))),
            Refusal::KeyMissingOrWrong | Refusal::NotProven(_) => {
                drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1")));
            }
            _ => {}
        }
        response
    }
}

/// How webhooks have been answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) taken: u64,
    /// By a status that is not ours to mend.
    pub(crate) refused: u64,
    /// By 503.
    pub(crate) failed: u64,
    /// Of those, for want of room.
    pub(crate) shed: u64,
}

impl Answered {
    pub(crate) fn count(&mut self, refusal: &Refusal) {
        if refusal.status() == StatusCode::SERVICE_UNAVAILABLE {
            self.failed += 1;
        } else {
            self.refused += 1;
        }
        self.shed += u64::from(matches!(refusal, Refusal::Overloaded));
    }

    /// What was counted between `earlier` and now.
    #[cfg(feature = "standalone")]
    pub(crate) fn since(&self, earlier: &Answered) -> Answered {
        Answered {
            taken: self.taken - earlier.taken,
            refused: self.refused - earlier.refused,
            failed: self.failed - earlier.failed,
            shed: self.shed - earlier.shed,
        }
    }
}

/// The queue has confirmed the event.
pub(crate) fn accepted(id: &str) -> Response<Full<Bytes>> {
    json_response(&json!({ "id": id }))
}

/// All is well.
pub(crate) fn healthy() -> Response<Full<Bytes>> {
    json_response(&json!({ "status": "ok" }))
}

fn json_response(body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_queue_names_the_command_that_declares_it() {
        assert!(chain(&PublishError::Unroutable("no queue".to_owned())).contains("`webhook-forwarder setup`"));
    }
}
