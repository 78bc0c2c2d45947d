//! Signatures over the body: what a request claims, and whether the body bears it out.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use ring::{hmac, signature};
use subtle::ConstantTimeEq;

use super::scheme::{Algorithm, Encoding, Form, Part, SecretForm, Signing, Timestamp};
use crate::answer::Refusal;

const MISSING: Refusal = Refusal::NotProven("the signature is missing, or not in the form of the scheme");
const WRONG: Refusal =
    Refusal::NotProven("the signature is wrong: the secret is another one, or the body was changed on its way");
const OUT_OF_TIME: Refusal =
    Refusal::NotProven("the signature's time is too far from ours: this is a replay, or one of the clocks is wrong");

/// Of one request; more are passed over. Each may cost a computation over the body, and a caller must not be able to ask
/// for many.
const MAX_SIGNATURES: usize = 8;

/// Secrets are written by people: with or without padding, and with whatever bits are left over.
pub(super) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How the signatures of one source are checked: any of its keys may have made any of them.
#[derive(Clone, Debug)]
pub(super) struct SignatureCheck {
    signing: Signing,
    keys: Vec<Key>,
}

#[derive(Clone)]
enum Key {
    Secret { algorithm: Algorithm, key: hmac::Key },
    Public(Vec<u8>),
}

/// What the headers of a request say about its signature.
#[derive(Debug)]
pub(crate) struct Claim {
    id: Vec<u8>,
    timestamp: Vec<u8>,
    /// Each without its prefix.
    signatures: Vec<(Form, Vec<u8>)>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl SignatureCheck {
    pub(super) fn new(signing: &Signing) -> SignatureCheck {
        SignatureCheck { signing: signing.clone(), keys: Vec::new() }
    }

    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Takes one secret. The error says what is wrong with it, and not what it is.
    pub(super) fn add_secret(&mut self, text: &str) -> Result<(), String> {
        let bytes = match self.signing.secret {
            SecretForm::Text => text.as_bytes().to_vec(),
            SecretForm::Base64 { prefix } => LENIENT
                .decode(text.strip_prefix(prefix).unwrap_or(text))
                .map_err(|_| format!("a secret of this scheme is Base64, after {prefix} or not"))?,
        };
        if bytes.is_empty() {
            return Err("holds an empty secret".to_owned());
        }
        let algorithms = self.signing.forms.iter().map(|form| form.algorithm);
        self.keys.extend(algorithms.filter_map(|algorithm| {
            Some(Key::Secret { algorithm, key: hmac::Key::new(hmac_algorithm(algorithm)?, &bytes) })
        }));
        Ok(())
    }

    /// Takes one public key: Base64, after `whpk_`.
    pub(super) fn add_public_key(&mut self, text: &str) -> Result<(), String> {
        let key = LENIENT.decode(text.strip_prefix("whpk_").unwrap_or(text)).ok();
        let key = key
            .filter(|key| key.len() == 32)
            .ok_or("a public key of this scheme is 32 bytes as Base64, after whpk_")?;
        self.keys.push(Key::Public(key));
        Ok(())
    }

    /// Reads what the headers claim, and refuses what no body could make good.
    pub(super) fn claim(&self, headers: &HeaderMap, now: SystemTime) -> Result<Claim, Refusal> {
        let names =
            self.signing.headers.iter().find(|names| headers.contains_key(names.signature.as_ref())).ok_or(MISSING)?;
        let id = names.id.as_deref().map_or(Ok(&[][..]), |name| only(headers, name))?;
        let shown = only(headers, &names.signature)?;
        let items: Vec<&[u8]> = match self.signing.separator {
            Some(separator) => shown.split(|byte| char::from(*byte) == separator).map(<[u8]>::trim_ascii).collect(),
            None => vec![shown],
        };
        let signatures = self.signatures(&items)?;
        let timestamp = match &self.signing.timestamp {
            None => &[][..],
            Some(timestamp) => {
                let text = match (timestamp.item, names.timestamp.as_deref()) {
                    (Some(prefix), _) => only_item(&items, prefix)?,
                    (None, Some(name)) => only(headers, name)?,
                    (None, None) => return Err(MISSING),
                };
                check_time(text, timestamp, now)?;
                text
            }
        };
        Ok(Claim { id: id.to_vec(), timestamp: timestamp.to_vec(), signatures })
    }

    /// What of the header's items is a signature.
    fn signatures(&self, items: &[&[u8]]) -> Result<Vec<(Form, Vec<u8>)>, Refusal> {
        let signatures: Vec<(Form, Vec<u8>)> = items
            .iter()
            .flat_map(|item| {
                let forms = self.signing.forms.iter();
                forms.filter_map(|form| Some((form.clone(), item.strip_prefix(form.prefix.as_bytes())?.to_vec())))
            })
            .filter(|(_, signature)| !signature.is_empty())
            .take(MAX_SIGNATURES)
            .collect();
        if signatures.is_empty() { Err(MISSING) } else { Ok(signatures) }
    }

    /// Whether one of the keys has made one of the signatures, for this body.
    pub(super) fn verify(&self, claim: &Claim, body: &[u8]) -> Result<(), Refusal> {
        let passed = self.keys.iter().any(|key| match key {
            Key::Secret { algorithm, key } => self.verify_with_secret(claim, body, *algorithm, key),
            Key::Public(key) => self.verify_with_public_key(claim, body, key),
        });
        if passed { Ok(()) } else { Err(WRONG) }
    }

    fn verify_with_secret(&self, claim: &Claim, body: &[u8], algorithm: Algorithm, key: &hmac::Key) -> bool {
        if !claim.signatures.iter().any(|(form, _)| form.algorithm == algorithm) {
            return false;
        }
        let mut context = hmac::Context::with_key(key);
        for part in self.signed_parts(claim, body) {
            context.update(part);
        }
        let tag = context.sign();
        // The text is compared, not the bytes it stands for: nothing that is written differently is the same.
        let made = claim.signatures.iter().filter(|(form, _)| form.algorithm == algorithm);
        made.filter(|(form, shown)| {
            encoded(tag.as_ref(), form.encoding).ct_eq(&as_compared(shown, form.encoding)).into()
        })
        .count()
            > 0
    }

    fn verify_with_public_key(&self, claim: &Claim, body: &[u8], key: &[u8]) -> bool {
        let made = claim.signatures.iter().filter(|(form, _)| form.algorithm == Algorithm::Ed25519);
        let decoded: Vec<Vec<u8>> = made.filter_map(|(_, shown)| STANDARD.decode(shown).ok()).collect();
        if decoded.is_empty() {
            return false;
        }
        let message = self.signed_parts(claim, body).concat();
        let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
        decoded.iter().any(|signature| key.verify(&message, signature).is_ok())
    }

    fn signed_parts<'a>(&'a self, claim: &'a Claim, body: &'a [u8]) -> Vec<&'a [u8]> {
        let parts = self.signing.signed.iter().map(|part| match part {
            Part::Text(text) => text.as_bytes(),
            Part::Id => &claim.id,
            Part::Timestamp => &claim.timestamp,
            Part::Body => body,
        });
        parts.collect()
    }
}

fn hmac_algorithm(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HmacSha1 => Some(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        Algorithm::HmacSha256 => Some(hmac::HMAC_SHA256),
        Algorithm::HmacSha512 => Some(hmac::HMAC_SHA512),
        Algorithm::Ed25519 => None,
    }
}

fn encoded(tag: &[u8], encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Hex | Encoding::HexOfAnyCase => hex(tag).into_bytes(),
        Encoding::Base64 => STANDARD.encode(tag).into_bytes(),
    }
}

fn as_compared(shown: &[u8], encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::HexOfAnyCase => shown.to_ascii_lowercase(),
        Encoding::Hex | Encoding::Base64 => shown.to_vec(),
    }
}

/// In small letters.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |number: u8| char::from(DIGITS[usize::from(number)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The value of a header that must be there once: of two, nobody knows which was meant.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a [u8], Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value.as_bytes()),
        _ => Err(MISSING),
    }
}

fn only_item<'a>(items: &[&'a [u8]], prefix: &str) -> Result<&'a [u8], Refusal> {
    let mut found = items.iter().filter_map(|item| item.strip_prefix(prefix.as_bytes()));
    match (found.next(), found.next()) {
        (Some(item), None) => Ok(item),
        _ => Err(MISSING),
    }
}

fn check_time(text: &[u8], timestamp: &Timestamp, now: SystemTime) -> Result<(), Refusal> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let signed = Duration::from_secs(digits.and_then(|digits| digits.parse().ok()).ok_or(MISSING)?);
    let now = Duration::from_secs(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let too_old = now.saturating_sub(signed) > timestamp.tolerance;
    let too_new = timestamp.both_ways && signed.saturating_sub(now) > timestamp.tolerance;
    if too_old || too_new { Err(OUT_OF_TIME) } else { Ok(()) }
}
