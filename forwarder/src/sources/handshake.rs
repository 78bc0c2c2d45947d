//! Questions of a provider that are answered at once: whether there is anybody here who wants its webhooks.

use bytes::Bytes;
use http::Response;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http_body_util::Full;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::request::Request;
use super::scheme::{Handshake, HandshakeAnswer};
use crate::answer::Refusal;

const WRONG_TOKEN: Refusal = Refusal::NotProven("the verify token is missing or wrong");

/// The answer, where the request is one of these handshakes.
pub(super) fn answer<'a>(
    handshakes: impl Iterator<Item = &'a Handshake>,
    request: &Request<'_>,
    verify_token: Option<&SecretString>,
) -> Result<Option<Response<Full<Bytes>>>, Refusal> {
    for handshake in handshakes.filter(|handshake| request.parts.method == handshake.method) {
        let marked = handshake.mark.as_ref().is_none_or(|(place, text)| request.at(place).as_deref() == Some(*text));
        if !marked {
            continue;
        }
        let Some(challenge) = handshake.challenge.iter().find_map(|place| request.at(place)) else { continue };
        if let Some(place) = &handshake.verify_token {
            let shown = request.at(place).unwrap_or_default();
            let is_right = verify_token.is_some_and(|token| same(token, &shown));
            if !is_right {
                return Err(WRONG_TOKEN);
            }
        }
        return Ok(Some(response(handshake.answer, challenge)));
    }
    Ok(None)
}

/// Whether this is the token, in constant time.
pub(super) fn same(token: &SecretString, shown: &str) -> bool {
    token.expose_secret().as_bytes().ct_eq(shown.as_bytes()).into()
}

fn response(answer: HandshakeAnswer, challenge: String) -> Response<Full<Bytes>> {
    match answer {
        HandshakeAnswer::Text => {
            let mut response = Response::new(Full::from(challenge));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            // What somebody else has written must not become a page.
            response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        HandshakeAnswer::Json(name) => {
            let mut response = Response::new(Full::from(json!({ name: challenge }).to_string()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        HandshakeAnswer::Nothing => Response::new(Full::default()),
        HandshakeAnswer::AllowedOrigin => {
            let mut response = Response::new(Full::default());
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
            headers.insert(HeaderName::from_static("webhook-allowed-rate"), HeaderValue::from_static("*"));
            if let Ok(origin) = HeaderValue::try_from(challenge) {
                headers.insert(HeaderName::from_static("webhook-allowed-origin"), origin);
            }
            response
        }
    }
}
