//! A key that the caller shows: in the query, in a header, or as a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use crate::query;

/// Headers that hold nothing but a key. They are never stored.
pub(crate) const KEY_HEADERS: [&str; 2] = ["x-webhook-key", "x-functions-key"];

/// Whether a query parameter of this name holds a key. It is never stored.
pub(crate) fn is_key_parameter(name: &str) -> bool {
    name.eq_ignore_ascii_case("key") || name.eq_ignore_ascii_case("code")
}

/// The keys of one source: any of them opens it, so that they can be rotated.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessKeys {
    keys: Vec<SecretString>,
}

impl AccessKeys {
    /// Keys separated by white space, and by nothing else: a comma may be part of a key.
    pub(crate) fn parse(text: &str) -> AccessKeys {
        AccessKeys { keys: text.split_whitespace().map(SecretString::from).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the request shows one of the keys. Every key is compared with everything shown, in constant time.
    pub(crate) fn presented_in(&self, request: &Parts) -> bool {
        let mut found = Choice::from(0);
        for shown in presented(request) {
            for key in &self.keys {
                found |= key.expose_secret().as_bytes().ct_eq(&shown);
            }
        }
        found.into()
    }
}

/// Everything in the request that could be a key.
pub(super) fn presented(request: &Parts) -> Vec<Vec<u8>> {
    let query = request.uri.query().unwrap_or_default();
    let mut shown: Vec<Vec<u8>> = query::pairs(query)
        .filter(|(_, name, _)| is_key_parameter(name))
        .map(|(_, _, value)| percent_decode_str(value).collect())
        .collect();
    for name in KEY_HEADERS {
        shown.extend(request.headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()));
    }
    shown.extend(request.headers.get_all(AUTHORIZATION).iter().filter_map(|value| credential(value.as_bytes())));
    shown
}

/// The token of `Bearer`, or the password of `Basic`.
fn credential(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, value) = authorization.split_at_checked(authorization.iter().position(|byte| *byte == b' ')?)?;
    let value = value.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(value.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = STANDARD.decode(value).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn passes(uri: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        AccessKeys::parse("old+key/=\n new,key").presented_in(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_key_opens_wherever_it_is_shown() {
        assert!(passes("/?a=1&key=old+key/=", &[]));
        assert!(passes("/?code=old%2Bkey%2f%3D&a=1", &[]));
        assert!(passes("/?%6Bey=new,key", &[]));
        assert!(passes("/", &[("x-webhook-key", "new,key")]));
        assert!(passes("/", &[("x-functions-key", "new,key")]));
        assert!(passes("/", &[("authorization", "bearer  new,key")]));
        // user:old+key/= and :new,key
        assert!(passes("/", &[("authorization", "Basic dXNlcjpvbGQra2V5Lz0=")]));
        assert!(passes("/", &[("authorization", "Basic Om5ldyxrZXk=")]));
        assert!(passes("/?key=wrong", &[("x-webhook-key", "wrong"), ("x-webhook-key", "new,key")]));
    }

    #[test]
    fn nothing_else_opens() {
        assert!(!passes("/", &[]));
        assert!(!passes("/?key=", &[]));
        assert!(!passes("/?key=new", &[]));
        assert!(!passes("/?key=new,key,", &[]));
        assert!(!passes("/?token=new,key", &[]));
        assert!(!passes("/", &[("authorization", "new,key")]));
        assert!(!passes("/", &[("authorization", "Digest new,key")]));
        assert!(!passes("/", &[("authorization", "Basic %%%")]));
    }
}
