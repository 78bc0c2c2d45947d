//! Path and query as they were sent, as far as the platform has kept them.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode_byte, utf8_percent_encode};

use super::event::Unreadable;
use crate::service::MAX_TARGET_BYTES;

/// The stage that adds nothing to the path.
const DEFAULT_STAGE: &str = "$default";
/// What cannot stand in a path as it is. An HTTP API decodes the path before it hands it over; the others do not.
const NOT_IN_A_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`');
/// What stands in a query as it is, by RFC 3986; everything else is encoded.
const NOT_IN_A_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The target of a request.
pub(super) fn uri(path: &str, query: &str) -> Result<Uri, Unreadable> {
    let mut target = encoded_path(path).into_owned();
    if !query.is_empty() {
        target.push('?');
        target.push_str(query);
    }
    if target.len() > MAX_TARGET_BYTES {
        return Err(Unreadable::TargetTooLong);
    }
    // What follows it would be cut off.
    if target.contains('#') {
        return Err(Unreadable::Target);
    }
    target.try_into().map_err(|_| Unreadable::Target)
}

/// The path behind the stage.
pub(super) fn without_stage<'a>(path: &'a str, stage: Option<&str>) -> &'a str {
    let Some(stage) = stage.filter(|stage| *stage != DEFAULT_STAGE && !stage.is_empty()) else {
        return path;
    };
    match path.strip_prefix('/').and_then(|path| path.strip_prefix(stage)) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

/// A path that may have been decoded. What is encoded stays as it is.
fn encoded_path(path: &str) -> Cow<'_, str> {
    let path: Cow<'_, str> = utf8_percent_encode(path, NOT_IN_A_PATH).into();
    let is_code =
        |at: usize| path.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if path.match_indices('%').all(|(at, _)| is_code(at)) {
        return path;
    }
    let mut whole = String::with_capacity(path.len());
    for (at, char) in path.char_indices() {
        match char {
            '%' if !is_code(at) => whole.push_str(percent_encode_byte(b'%')),
            char => whole.push(char),
        }
    }
    whole.into()
}

/// A name or a value that the platform has decoded.
pub(super) fn encoded_text(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, NOT_IN_A_QUERY).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_path_is_untouched_and_a_decoded_one_is_encoded() {
        let target = |path: &str| uri(path, "").map(|uri| uri.to_string());
        for path in ["/", "/a%2Fb", "/%C3%A6%20", "/a;b=c,d:e@f!$&'()*+~", "//a/../b/"] {
            assert_eq!(target(path).as_deref(), Ok(path));
        }
        assert_eq!(target("/a b?c#d").as_deref(), Ok("/a%20b%3Fc%23d"));
        assert_eq!(target("/100% æ").as_deref(), Ok("/100%25%20%C3%A6"));
        assert_eq!(target("/100%2").as_deref(), Ok("/100%252"));
        assert_eq!(target(""), Err(Unreadable::Target));
    }

    #[test]
    fn a_query_is_what_was_received() {
        let target = |query: &str| uri("/", query).map(|uri| uri.to_string());
        assert_eq!(target("a=%2B&b=+&&c").as_deref(), Ok("/?a=%2B&b=+&&c"));
        assert_eq!(target("").as_deref(), Ok("/"));
        assert_eq!(target("a=b c"), Err(Unreadable::Target));
        assert_eq!(target("a#b"), Err(Unreadable::Target));
        assert_eq!(target(&"x".repeat(MAX_TARGET_BYTES)), Err(Unreadable::TargetTooLong));
        assert_eq!(encoded_text("a b&c=æ+~"), "a%20b%26c%3D%C3%A6%2B~");
    }

    #[test]
    fn only_a_whole_stage_is_removed() {
        assert_eq!(without_stage("/prod/webhooks/shop", Some("prod")), "/webhooks/shop");
        assert_eq!(without_stage("/prod", Some("prod")), "/");
        assert_eq!(without_stage("/production/a", Some("prod")), "/production/a");
        assert_eq!(without_stage("/webhooks/prod/a", Some("prod")), "/webhooks/prod/a");
        assert_eq!(without_stage("/$default/a", Some("$default")), "/$default/a");
        assert_eq!(without_stage("/a", None), "/a");
    }
}
