//! From an event to the request that it stands for.

use std::borrow::Cow;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::Full;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use super::pairs::Pairs;
use super::target;
use crate::answer::Refusal;
use crate::client;
use crate::service::{Arrival, MAX_TARGET_BYTES};

/// What stands for bytes that a platform took for text.
const REPLACEMENT: char = '\u{fffd}';

/// Who put a request into an event, and so which form the answer must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A Function URL, or an HTTP API with payload format 2.0.
    Http,
    /// A REST API, or an HTTP API with payload format 1.0.
    Rest,
    /// An Application Load Balancer.
    LoadBalancer,
}

/// The event is no HTTP request.
#[derive(Debug, thiserror::Error)]
#[error("this is not the event of a Function URL, of API Gateway or of a load balancer: {0}")]
pub(super) struct NotHttp(&'static str);

/// Why a request cannot be taken from its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Target,
    TargetTooLong,
    Method,
    Header,
    /// The event says that the body is in base64, and it is not.
    Encoding,
    /// The platform has replaced bytes of the body.
    Mangled,
}

impl Unreadable {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Unreadable::Target => Refusal::Unreadable("the request target is not well-formed"),
            Unreadable::TargetTooLong => Refusal::TargetTooLong { limit: MAX_TARGET_BYTES },
            Unreadable::Method => Refusal::Unreadable("the method is not well-formed"),
            Unreadable::Header => Refusal::Unreadable("a header is not well-formed"),
            Unreadable::Encoding => Refusal::Failed("the event's body is not in base64, as the event says"),
            Unreadable::Mangled => Refusal::Failed(
                "the platform has changed the body: a REST API needs */* among its binaryMediaTypes to keep every byte",
            ),
        }
    }
}

/// All that is read of any event.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Payload {
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    http_method: Option<String>,
    path: Option<String>,
    query_string_parameters: Pairs,
    multi_value_query_string_parameters: Pairs,
    headers: Pairs,
    multi_value_headers: Pairs,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    request_context: RequestContext,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext {
    stage: Option<String>,
    path: Option<String>,
    http: Option<HttpContext>,
    identity: Option<Identity>,
    elb: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpContext {
    method: Option<String>,
    source_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: Option<String>,
}

/// An event that is an HTTP request.
pub(super) struct HttpEvent {
    /// Who made it.
    pub(super) origin: Origin,
    method: String,
    client: Option<String>,
    payload: Payload,
}

impl HttpEvent {
    /// Reads an event.
    pub(super) fn read(json: &str) -> Result<HttpEvent, NotHttp> {
        let mut payload: Payload = serde_json::from_str(json).map_err(|error| match error.classify() {
            Category::Data => NotHttp("it has other fields"),
            _ => NotHttp("it is not JSON"),
        })?;
        let context = &mut payload.request_context;
        let (origin, method, client) = if let Some(http) = context.http.take() {
            (Origin::Http, http.method, http.source_ip)
        } else if context.elb.is_some() {
            (Origin::LoadBalancer, payload.http_method.take(), None)
        } else if let Some(identity) = context.identity.take() {
            (Origin::Rest, payload.http_method.take(), identity.source_ip)
        } else {
            return Err(NotHttp("it has no request context"));
        };
        let method = method.ok_or(NotHttp("it has no method"))?;
        Ok(HttpEvent { origin, method, client, payload })
    }

    /// The request as it was sent, as far as the platform has kept it.
    pub(super) fn into_request(self) -> Result<Request<Full<Bytes>>, Unreadable> {
        let HttpEvent { origin, method, client, payload } = self;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Unreadable::Method)?;
        let uri = payload.target(origin)?;
        let headers = headers(fuller(&payload.multi_value_headers, &payload.headers))?;
        let client: Option<IpAddr> = match origin {
            Origin::LoadBalancer => client::at_the_front(&headers),
            Origin::Http | Origin::Rest => client.and_then(|client| client.parse().ok()),
        };
        let body = body(payload.body.unwrap_or_default(), payload.is_base64_encoded == Some(true), &headers)?;

        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request.extensions_mut().insert(Arrival { whole: true, ..Arrival::now(client) });
        Ok(request)
    }
}

impl Payload {
    fn target(&self, origin: Origin) -> Result<Uri, Unreadable> {
        let path = match origin {
            Origin::Http => self.raw_path.as_deref(),
            Origin::Rest | Origin::LoadBalancer => self.path.as_deref(),
        };
        let path = self.without_stage(origin, path.unwrap_or("/"));
        let pairs = fuller(&self.multi_value_query_string_parameters, &self.query_string_parameters);
        let query = match origin {
            Origin::Http => self.raw_query_string.clone().unwrap_or_default(),
            // A REST API has decoded the pairs, a load balancer has not.
            Origin::Rest => pairs.to_query(target::encoded_text),
            Origin::LoadBalancer => pairs.to_query(Cow::Borrowed),
        };
        target::uri(path, &query)
    }

    /// A REST API has removed the stage itself, and then shows another path in its context, the one with the stage. Under a
    /// custom domain there may be none in either.
    fn without_stage<'a>(&self, origin: Origin, path: &'a str) -> &'a str {
        let context = &self.request_context;
        let stage_in_path = match origin {
            Origin::Http => true,
            Origin::Rest => context.path.as_deref() == Some(path),
            Origin::LoadBalancer => false,
        };
        if stage_in_path { target::without_stage(path, context.stage.as_deref()) } else { path }
    }
}

/// The lists of values, where the platform gives them: they hold everything that the single values hold.
fn fuller<'a>(several: &'a Pairs, single: &'a Pairs) -> &'a Pairs {
    if several.is_empty() { single } else { several }
}

fn headers(pairs: &Pairs) -> Result<HeaderMap, Unreadable> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs.iter() {
        let name = HeaderName::try_from(name).map_err(|_| Unreadable::Header)?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Unreadable::Header)?;
        headers.try_append(name, value).map_err(|_| Unreadable::Header)?;
    }
    Ok(headers)
}

/// The bytes that were sent, or none that could be mistaken for them.
fn body(text: String, is_base64: bool, headers: &HeaderMap) -> Result<Bytes, Unreadable> {
    if is_base64 {
        return STANDARD.decode(text).map(Bytes::from).map_err(|_| Unreadable::Encoding);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if text.contains(REPLACEMENT) && length.is_some_and(|length| length != text.len()) {
        return Err(Unreadable::Mangled);
    }
    Ok(text.into())
}
