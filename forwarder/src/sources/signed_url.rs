//! Signatures over a URL and the fields of a form, as Twilio makes them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::signature::hex;
use crate::answer::Refusal;
use crate::query;

const WRONG: Refusal = Refusal::NotProven(
    "the signature is wrong: the secret or the source's URL is not what the provider has, or the body was changed",
);

const TOO_MANY: Refusal = Refusal::NotProven("the form has more fields than anybody signs");

/// Of a form. No provider sends as many, and whoever signs nothing must not make us sort millions.
const MAX_FIELDS: usize = 10_000;

/// How the signatures of one source are checked.
#[derive(Clone, Debug)]
pub(super) struct SignedUrlCheck {
    digest: &'static str,
    /// The source's public URL. It may hold a password.
    url: SecretString,
    keys: Vec<hmac::Key>,
}

impl SignedUrlCheck {
    pub(super) fn new<'a>(
        digest: &'static str,
        url: SecretString,
        secrets: impl Iterator<Item = &'a str>,
    ) -> SignedUrlCheck {
        let keys = secrets.map(|secret| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes()));
        SignedUrlCheck { digest, url, keys: keys.collect() }
    }

    /// Whether one of the keys has signed this body for this URL: the source's own, with what the request has behind it.
    pub(super) fn verify(&self, shown: &[u8], behind: &str, body: &[u8]) -> Result<(), Refusal> {
        let query = behind.split_once('?').map_or("", |(_, query)| query);
        let fields = match query::first(query, self.digest) {
            // The digest is part of the URL, and so signed.
            Some(digest) if is_digest(&digest, body) => String::new(),
            Some(_) => return Err(WRONG),
            None => fields(std::str::from_utf8(body).map_err(|_| WRONG)?).ok_or(TOO_MANY)?,
        };
        let url = format!("{}{behind}", self.url.expose_secret());
        let passed = spellings(&url).iter().any(|url| self.is_signed(shown, &format!("{url}{fields}")));
        if passed { Ok(()) } else { Err(WRONG) }
    }

    fn is_signed(&self, shown: &[u8], text: &str) -> bool {
        self.keys.iter().any(|key| {
            let expected = STANDARD.encode(hmac::sign(key, text.as_bytes()));
            expected.as_bytes().ct_eq(shown).into()
        })
    }
}

fn is_digest(shown: &str, body: &[u8]) -> bool {
    hex(digest::digest(&digest::SHA256, body).as_ref()) == shown
}

/// The fields of a form, sorted, each value of a name once, with nothing between them; none where there are too many.
fn fields(form: &str) -> Option<String> {
    if form.split('&').nth(MAX_FIELDS).is_some() {
        return None;
    }
    let mut fields: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for pair in form.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        fields.entry(decoded(name)).or_default().insert(decoded(value));
    }
    let mut text = Vec::new();
    for (name, values) in fields {
        for value in values {
            text.extend_from_slice(&name);
            text.extend_from_slice(&value);
        }
    }
    Some(query::readable(&text))
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

/// The URL with its port and without: the provider's own servers do not agree.
fn spellings(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let other = match authority.rsplit_once(':') {
        Some((host, _)) => format!("{scheme}://{host}{path}"),
        None => format!("{scheme}://{authority}:{}{path}", if scheme == "http" { 80 } else { 443 }),
    };
    vec![url.to_owned(), other]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The provider's published examples.
    fn passes(shown: &str, behind: &str, body: &str) -> bool {
        let url = "https://mycompany.com/myapp.php".into();
        SignedUrlCheck::new("bodySHA256", url, ["old", "12345"].into_iter())
            .verify(shown.as_bytes(), behind, body.as_bytes())
            .is_ok()
    }

    const FORM: &str =
        "To=%2B18005551212&CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2b14158675309";

    #[test]
    fn a_form_is_verified() {
        assert!(passes("RSOYDt4T1cUTdK1PDd93/VVr8B8=", "?foo=1&bar=2", FORM));
        assert!(!passes("RSOYDt4T1cUTdK1PDd93/VVr8B8=", "?foo=1&bar=3", FORM));
        assert!(!passes("RSOYDt4T1cUTdK1PDd93/VVr8B8=", "?foo=1&bar=2", &FORM.replace("1234&", "1235&")));
        assert!(!passes("rSOYDt4T1cUTdK1PDd93/VVr8B8=", "?foo=1&bar=2", FORM));
    }

    #[test]
    fn other_text_is_verified_by_its_digest() {
        let body = r#"{"property": "value", "boolean": true}"#;
        let query = "?foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        assert!(passes("a9nBmqA0ju/hNViExpshrM61xv4=", query, body));
        assert!(!passes("a9nBmqA0ju/hNViExpshrM61xv4=", query, &body.replace("true", "null")));
        assert!(!passes("a9nBmqA0ju/hNViExpshrM61xv4=", "?foo=1&bar=2", body));
    }

    #[test]
    fn a_value_that_is_there_twice_is_signed_once() {
        let form = "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234";
        assert!(passes("IK+Dwps556ElfBT0I3Rgjkr1wJU=", "?foo=1&bar=2", form));
        assert!(passes(
            "IK+Dwps556ElfBT0I3Rgjkr1wJU=",
            "?foo=1&bar=2",
            &form.replace("&Digits=1234&Digits=1234", "&Digits=1234")
        ));
    }

    #[test]
    fn fields_without_end_take_no_memory() {
        let passes = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("f{number:05}")).collect();
            let text = format!("https://mycompany.com/myapp.php{}", names.concat());
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345");
            passes(&STANDARD.encode(hmac::sign(&key, text.as_bytes())), "", &names.join("&"))
        };
        assert!(passes(MAX_FIELDS));
        assert!(!passes(MAX_FIELDS + 1));
    }

    #[test]
    fn a_port_may_be_there_or_not() {
        assert_eq!(spellings("https://a.example/x?y:z"), ["https://a.example/x?y:z", "https://a.example:443/x?y:z"]);
        assert_eq!(spellings("http://a.example:8080"), ["http://a.example:8080", "http://a.example"]);
    }
}
