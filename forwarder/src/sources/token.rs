//! JSON Web Tokens by ES256, and by nothing else.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::signature::only;
use crate::answer::Refusal;

const MISSING: Refusal = Refusal::NotProven("the token is missing or cannot be read");
const WRONG: Refusal = Refusal::NotProven("the signature of the token is wrong");
const EXPIRED: Refusal = Refusal::NotProven("the token has expired");
const NOT_FOR_US: Refusal =
    Refusal::NotProven("the token is of another issuer or for another address than the source's URL");
const OTHER_EVENT: Refusal = Refusal::NotProven("the token is for another event");

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// What stands before the point of a P-256 key.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P256_POINT_BYTES: usize = 65;

/// How the tokens of one source are checked.
#[derive(Clone, Debug)]
pub(super) struct TokenCheck {
    issuer: &'static str,
    /// The source's URL. It may hold a key.
    audience: SecretString,
    /// The point of the public key.
    key: Vec<u8>,
}

/// What a token says it is for.
#[derive(Debug)]
pub(crate) struct Claims {
    id: Option<String>,
    subject: Option<String>,
}

impl TokenCheck {
    pub(super) fn new(issuer: &'static str, audience: SecretString, key: Vec<u8>) -> TokenCheck {
        TokenCheck { issuer, audience, key }
    }

    /// Checks the token in `Authorization`: its signature, its issuer, its end, and that it was made for this source.
    pub(super) fn claim(&self, headers: &HeaderMap, now: SystemTime) -> Result<Claims, Refusal> {
        let authorization = only(headers, "authorization").map_err(|_| MISSING)?;
        let token = bearer(authorization).ok_or(MISSING)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(MISSING)?;
        let (header, claims) = signed.split_once('.').ok_or(MISSING)?;
        if json(header)?.get("alg").and_then(Value::as_str) != Some("ES256") {
            return Err(MISSING);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| MISSING)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| WRONG)?;

        let claims = json(claims)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if claims.get("exp").and_then(Value::as_f64).ok_or(MISSING)? <= now {
            return Err(EXPIRED);
        }
        if text("iss") != Some(self.issuer) || !is_audience(claims.get("aud"), self.audience.expose_secret()) {
            return Err(NOT_FOR_US);
        }
        Ok(Claims { id: text("jti").map(str::to_owned), subject: text("sub").map(str::to_owned) })
    }
}

impl Claims {
    /// Whether the token was made for the event with this id and this subject.
    pub(super) fn cover(&self, id: Option<&str>, subject: Option<&str>) -> Result<(), Refusal> {
        let same = id.is_some() && subject.is_some() && self.id.as_deref() == id && self.subject.as_deref() == subject;
        if same { Ok(()) } else { Err(OTHER_EVENT) }
    }
}

fn bearer(authorization: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(authorization).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn json(part: &str) -> Result<Value, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| MISSING)?;
    serde_json::from_slice(&bytes).map_err(|_| MISSING)
}

fn is_audience(claim: Option<&Value>, audience: &str) -> bool {
    match claim {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}

/// The point of a P-256 public key in PEM, whose line breaks may be written as `\n`, or in the Base64 of that.
pub(super) fn p256_point(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().replace("\\n", "\n");
    let pem = if text.starts_with(BEGIN) { text } else { String::from_utf8(STANDARD.decode(text).ok()?).ok()? };
    let inner = pem.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let base64: String = inner.split_whitespace().collect();
    let point = STANDARD.decode(base64).ok()?.strip_prefix(&P256_PREFIX)?.to_vec();
    (point.len() == P256_POINT_BYTES && point[0] == 4).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_however_it_is_written() {
        let line = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE/RoHIjgY7hfXfY5p/Jy+K/FguMZ43TvZ9t4eN7+kxQ0MJzKtowv4CcYTFqrBm7hMB5ZWKnqLz24D6lQjSL0Ysw==";
        let pem = format!("{BEGIN}\n{}\n{}\n{END}\n", &line[..64], &line[64..]);
        let point = p256_point(&pem).unwrap();
        assert_eq!(p256_point(&pem.replace('\n', "\\n")), Some(point.clone()));
        assert_eq!(p256_point(&STANDARD.encode(&pem)), Some(point.clone()));
        assert_eq!(p256_point(&pem.replace('\n', "\r\n")), Some(point));
        for wrong in [
            "",
            line,
            BEGIN,
            &pem.replace("MFkw", "MFkx"),
            &pem.replace("AE/RoH", "AF/RoH"),
            &pem.replace("Ysw==", "Yg=="),
        ] {
            assert_eq!(p256_point(wrong), None, "{wrong}");
        }
    }
}
