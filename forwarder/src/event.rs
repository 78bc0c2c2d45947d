//! From a request to an event.

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap};
use http::request::Parts;
use webhook_queue::{Event, Http, IdOrigin, Verified};

use crate::answer::Refusal;
use crate::query;
use crate::route::without_host_prefix;
use crate::service::Arrival;
use crate::sources::{Facts, KEY_HEADERS, Source, is_key_parameter};

/// The type of an event whose request names none.
pub(crate) const DEFAULT_TYPE: &str = "webhook";
const MAX_TYPE_BYTES: usize = 200;
/// Of `traceparent` and `tracestate` each; the standard asks for 512.
const MAX_TRACE_BYTES: usize = 4096;

/// The event of a request that has proven its origin, received now. Refuses what no queue could carry.
pub(crate) fn event(
    source: &Source,
    facts: Facts,
    verified: Verified,
    arrival: &Arrival,
    request: &Parts,
    body: Bytes,
) -> Result<Event, Refusal> {
    let event_type = facts.event_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned());
    if !is_type(&event_type) {
        return Err(Refusal::Unreadable("the type of the event is too long or has control characters"));
    }
    if facts.tenant.as_deref().is_some_and(|tenant| tenant.chars().any(char::is_control)) {
        return Err(Refusal::Unreadable("the tenant has control characters"));
    }
    let mut event = Event::new(source.name.clone(), event_type, body);
    if let Some(id) = facts.id {
        event.id = id;
        event.id_origin = IdOrigin::Provider;
    } else if let Some(id) = &arrival.id {
        event.id.clone_from(id);
    }
    event.time = facts.time.unwrap_or(event.time);
    event.subject = facts.subject;
    event.tenant = facts.tenant;
    event.verified = verified;
    event.traceparent = trace_header(&request.headers, "traceparent");
    event.tracestate = trace_header(&request.headers, "tracestate");
    event.http = Http {
        method: request.method.as_str().to_owned(),
        path: without_host_prefix(request.uri.path()).to_owned(),
        query: without_keys(request.uri.query().unwrap_or_default()),
        client: arrival.client.map(|client| client.to_canonical().to_string()),
        headers: stored_headers(&request.headers),
    };
    Ok(event)
}

/// Whether an event can have this type.
pub(crate) fn is_type(text: &str) -> bool {
    text.len() <= MAX_TYPE_BYTES && !text.chars().any(char::is_control)
}

/// All values of a header, joined as HTTP allows. One that is too long is left out, as the standard lets everybody do: a
/// caller must not be able to double what an event carries.
fn trace_header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<String> = headers.get_all(name).iter().map(|value| query::readable(value.as_bytes())).collect();
    Some(values.join(",")).filter(|text| !values.is_empty() && text.len() <= MAX_TRACE_BYTES)
}

/// In these Azure's front end repeats the whole target, with the key in its query.
const TARGET_HEADERS: [&str; 2] = ["x-original-url", "x-waws-unencoded-url"];

/// Every header but those that hold a secret.
fn stored_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| **name != AUTHORIZATION && **name != COOKIE)
        .filter(|(name, _)| !KEY_HEADERS.contains(&name.as_str()) && !TARGET_HEADERS.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), query::readable(value.as_bytes())))
        .collect()
}

/// The query without the pairs that hold a key; everything else byte for byte.
fn without_keys(query: &str) -> String {
    if !query::pairs(query).any(|(_, name, _)| is_key_parameter(&name)) {
        return query.to_owned();
    }
    let kept: Vec<&str> =
        query::pairs(query).filter(|(_, name, _)| !is_key_parameter(name)).map(|(pair, _, _)| pair).collect();
    kept.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_without_a_key_is_untouched() {
        for query in ["", "a=%2B&b=+&&c", "&", "keys=1&decode=2", "=key"] {
            assert_eq!(without_keys(query), query);
        }
    }

    #[test]
    fn keys_leave_no_trace() {
        assert_eq!(without_keys("key=s3cret"), "");
        assert_eq!(without_keys("a=%2B&key=s3cret&&c"), "a=%2B&&c");
        assert_eq!(without_keys("Code=s3cret&a=1&k%65y=s3cret"), "a=1");
    }

    #[test]
    fn a_trace_that_is_too_long_is_left_out() {
        let mut headers = HeaderMap::new();
        assert_eq!(trace_header(&headers, "tracestate"), None);
        headers.append("tracestate", "a=1".parse().unwrap());
        headers.append("tracestate", "b=2".parse().unwrap());
        assert_eq!(trace_header(&headers, "tracestate").as_deref(), Some("a=1,b=2"));
        headers.append("tracestate", "x".repeat(MAX_TRACE_BYTES).parse().unwrap());
        assert_eq!(trace_header(&headers, "tracestate"), None);
    }
}
