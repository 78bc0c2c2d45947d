//! What each provider would add to a request, so that inputs get past the verification.

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use ring::{digest, hmac};
use serde_json::{Map, Value, json};

use crate::draft::Draft;
use crate::sns;
use crate::sources::{
    ACCESS_KEY, FATTURE_IN_CLOUD_URL, MASTER_KEY, Proof, SECRET, Source, TWILIO_URL, VERIFY_TOKEN, WEBHOOK_SECRET,
};

pub(crate) static ED25519: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any seed is one"));
pub(crate) static ES256: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &SystemRandom::new()).unwrap()
});
/// In what a token is good for.
const AN_HOUR: u64 = 3600;

/// Where a proof is in a request, and what it covers: no byte of it may be changed.
#[derive(Default)]
pub(crate) struct Spots {
    /// The value of a header from a byte on.
    headers: Vec<(&'static str, usize)>,
    body: bool,
    /// The only text in the body that counts.
    text_in_body: Option<&'static str>,
    in_target: Vec<Range<usize>>,
    /// The covered fields of a message of SNS.
    of_message: &'static [&'static str],
}

impl Spots {
    /// Changes a byte. Says no where there is none.
    pub(crate) fn alter(&self, draft: &mut Draft, spot: u8) -> bool {
        if !self.of_message.is_empty() {
            sns::alter(draft, self.of_message, spot);
            return true;
        }
        let mut target = mem::take(&mut draft.target).into_bytes();
        let is_altered = self.alter_byte(draft, &mut target, spot);
        draft.target = String::from_utf8(target).expect("only ASCII is changed");
        is_altered
    }

    fn alter_byte(&self, draft: &mut Draft, target: &mut [u8], spot: u8) -> bool {
        let Draft { headers, body, .. } = draft;
        let values = headers.iter_mut().flat_map(|(name, value)| {
            let from = self.headers.iter().find(|(found, _)| found == name).map_or(usize::MAX, |(_, from)| *from);
            value.iter_mut().skip(from)
        });
        let in_body =
            self.text_in_body.and_then(|text| body.windows(text.len()).position(|found| found == text.as_bytes()));
        let body = match (self.body, in_body) {
            (true, _) => &mut body[..],
            (false, Some(at)) => &mut body[at..=at],
            (false, None) => &mut [],
        };
        let in_target = target.iter_mut().enumerate();
        let in_target = in_target.filter(|(at, _)| self.in_target.iter().any(|range| range.contains(at)));
        let mut bytes: Vec<&mut u8> = values.chain(body).chain(in_target.map(|(_, byte)| byte)).collect();
        let count = bytes.len();
        if count == 0 {
            return false;
        }
        *bytes[usize::from(spot) * 7 % count] ^= 1 << (spot % 7);
        true
    }
}

/// Adds what the source's provider proves itself with, in one of its ways.
pub(crate) fn sign(source: &Source, draft: &mut Draft, way: u8) -> Spots {
    match source.proof {
        Proof::Open => Spots::default(),
        Proof::Key => show_key(draft, way, ACCESS_KEY),
        Proof::TenantKey => show_tenant_key(source.name, draft, way),
        Proof::StandardWebhooks => {
            let key = STANDARD.decode(&WEBHOOK_SECRET["whsec_".len()..]).unwrap();
            webhook(draft, way, "v1,", |text| mac(hmac::HMAC_SHA256, &key, text))
        }
        Proof::StandardWebhooksByPublicKey => webhook(draft, way, "v1a,", |text| ED25519.sign(text).as_ref().to_vec()),
        Proof::Stripe => {
            let now = now();
            let signature = hex(&by_secret(&[now.as_bytes(), b".", &draft.body]));
            draft.set("stripe-signature", format!("t={now},v1={signature}"));
            Spots { headers: vec![("stripe-signature", 0)], body: true, ..Spots::default() }
        }
        Proof::Hex(header, prefix) => {
            draft.set(header, format!("{prefix}{}", hex(&by_secret(&[&draft.body]))));
            Spots { headers: vec![(header, 0)], body: true, ..Spots::default() }
        }
        Proof::Shopify => {
            let [header, other] = either(["x-shopify-hmac-sha256", "shopify-hmac-sha256"], way);
            draft.take(other);
            draft.set(header, STANDARD.encode(by_secret(&[&draft.body])));
            Spots { headers: vec![(header, 0)], body: true, ..Spots::default() }
        }
        Proof::Slack => {
            let now = now();
            let signature = hex(&by_secret(&[b"v0:", now.as_bytes(), b":", &draft.body]));
            draft.set("x-slack-request-timestamp", now);
            draft.set("x-slack-signature", format!("v0={signature}"));
            let headers = vec![("x-slack-request-timestamp", 0), ("x-slack-signature", 0)];
            Spots { headers, body: true, ..Spots::default() }
        }
        Proof::Twilio => sign_url(draft, way),
        Proof::Token => show_token(draft, way),
        Proof::ClientState => show_client_state(draft),
        Proof::Sns => Spots { of_message: sns::sign(draft, way), ..Spots::default() },
        Proof::Described => {
            let (id, now) = (draft.take("x-id").unwrap_or_else(|| b"1".to_vec()), now());
            let text = [&id, &b"."[..], now.as_bytes(), b".", &draft.body].concat();
            draft.set("x-id", id);
            draft.set("x-timestamp", now);
            draft.set(
                "x-signature",
                format!("v1={}", STANDARD.encode(mac(hmac::HMAC_SHA512, SECRET.as_bytes(), &text))),
            );
            let headers = vec![("x-id", 0), ("x-timestamp", 0), ("x-signature", 0)];
            Spots { headers, body: true, ..Spots::default() }
        }
    }
}

fn show_key(draft: &mut Draft, way: u8, key: &str) -> Spots {
    let (header, scheme) = match way % 4 {
        0 => ("x-webhook-key", ""),
        1 => ("x-functions-key", ""),
        2 => ("authorization", "Bearer "),
        _ => ("authorization", "Basic "),
    };
    let key = if scheme == "Basic " { STANDARD.encode(format!(":{key}")) } else { key.to_owned() };
    draft.set(header, format!("{scheme}{key}"));
    Spots { headers: vec![(header, scheme.len())], ..Spots::default() }
}

/// Of the first tenant that the query names, and from here on the only one. No name takes encoding.
fn show_tenant_key(source: &str, draft: &mut Draft, way: u8) -> Spots {
    let target = draft.target.split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (named, mut rest): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| {
        percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy() == "tenant"
    });
    let named = named.first().and_then(|pair| pair.split_once('=')).map(|(_, name)| name);
    let is_word = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let tenant = named.filter(is_word).unwrap_or("1").to_owned();
    rest.retain(|pair| !pair.is_empty());
    let before = [&rest[..], &["tenant="]].concat().join("&");
    draft.target = format!("{path}?{before}{tenant}");

    let end = draft.target.len();
    let name = end - tenant.len()..end;
    let key = hex(&mac(hmac::HMAC_SHA256, MASTER_KEY.as_bytes(), format!("{source}\0{tenant}").as_bytes()));
    if way % 8 < 4 {
        return Spots { in_target: vec![name], ..show_key(draft, way, &key) };
    }
    draft.target.push_str("&key=");
    let from = draft.target.len();
    draft.target.push_str(&key);
    Spots { in_target: vec![name, from..draft.target.len()], ..Spots::default() }
}

/// Under one of both names, after signatures of other keys.
fn webhook(draft: &mut Draft, way: u8, prefix: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Spots {
    let ours = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let [[id_header, time_header, header], others] =
        either([ours, ["svix-id", "svix-timestamp", "svix-signature"]], way);
    others.into_iter().for_each(|name| drop(draft.take(name)));
    let (id, now) = (draft.take(id_header).unwrap_or_else(|| b"msg_1".to_vec()), now());
    let signature = STANDARD.encode(sign(&[&id, &b"."[..], now.as_bytes(), b".", &draft.body].concat()));
    let before = "v1,x ".repeat(usize::from(way / 2 % 8));
    draft.set(id_header, id);
    draft.set(time_header, now);
    draft.set(header, format!("{before}{prefix}{signature}"));
    let headers = vec![(id_header, 0), (time_header, 0), (header, before.len())];
    Spots { headers, body: true, ..Spots::default() }
}

/// A form by its fields, and other text by its digest. What no URL of the provider's has is left out of the request.
fn sign_url(draft: &mut Draft, way: u8) -> Spots {
    let end = if draft.target.contains(['%', '#']) || draft.target.contains("SHA256") {
        draft.target.find(['?', '#'])
    } else {
        None
    };
    draft.target.truncate(end.unwrap_or(draft.target.len()));
    let is_plain_form = draft.body.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'&'));
    let mut fields = String::new();
    if is_plain_form && way.is_multiple_of(2) {
        let form = String::from_utf8_lossy(&draft.body);
        let pairs = form.split('&').filter(|pair| !pair.is_empty());
        let sorted: BTreeSet<_> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        fields.extend(sorted.into_iter().flat_map(|(name, value)| [name, value]));
    } else {
        let mark = if draft.target.contains('?') { '&' } else { '?' };
        let shown = hex(digest::digest(&digest::SHA256, &draft.body).as_ref());
        draft.target = format!("{}{mark}bodySHA256={shown}", draft.target);
    }
    let text = format!("{TWILIO_URL}{}{fields}", draft.target);
    let tag = mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes(), text.as_bytes());
    draft.set("x-twilio-signature", STANDARD.encode(tag));
    Spots { headers: vec![("x-twilio-signature", 0)], ..Spots::default() }
}

/// For an event whose attributes are headers, or one that is all in its body.
fn show_token(draft: &mut Draft, way: u8) -> Spots {
    let [in_headers, _] = either([true, false], way);
    let (id, subject) = if in_headers { attributes_in_headers(draft) } else { attributes_in_body(draft) };
    let claims = json!({
        "jti": id, "sub": subject, "exp": now_seconds() + AN_HOUR, "iss": "https://api-v2.fattureincloud.it",
        "aud": [FATTURE_IN_CLOUD_URL],
    });
    let parts = [json!({"alg": "ES256"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = parts.join(".");
    let signature = ES256.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    let bearer = "Bearer ";
    draft.set("authorization", format!("{bearer}{text}.{}", URL_SAFE_NO_PAD.encode(signature)));
    let mut headers = vec![("authorization", bearer.len())];
    if in_headers {
        headers.extend([("ce-id", 0), ("ce-subject", 0)]);
    }
    Spots { headers, ..Spots::default() }
}

fn attributes_in_headers(draft: &mut Draft) -> (String, String) {
    let [id, subject] = [("ce-id", "198:f059"), ("ce-subject", "company:1")].map(|(name, otherwise)| {
        let shown = draft.take(name).and_then(|value| String::from_utf8(value).ok()).filter(|text| !text.contains('%'));
        let shown = shown.unwrap_or_else(|| otherwise.to_owned());
        draft.set(name, shown.as_bytes());
        shown
    });
    (id, subject)
}

fn attributes_in_body(draft: &mut Draft) -> (String, String) {
    draft.take("ce-id");
    let mut event = match serde_json::from_slice(&draft.body) {
        Ok(Value::Object(event)) => event,
        _ => Map::from_iter([("data".to_owned(), String::from_utf8_lossy(&draft.body).into())]),
    };
    let [_, id, subject] =
        [("specversion", "1.0"), ("id", "198:f059"), ("subject", "company:1")].map(|(name, otherwise)| {
            let shown = event.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or(otherwise);
            let shown = shown.to_owned();
            event.insert(name.to_owned(), shown.as_str().into());
            shown
        });
    draft.body = Value::Object(event).to_string().into_bytes();
    (id, subject)
}

/// In every notification there is, and in one where there is none.
fn show_client_state(draft: &mut Draft) -> Spots {
    let body = serde_json::from_slice::<Value>(&draft.body).unwrap_or_default();
    let mut told: Vec<Value> = body["value"].as_array().cloned().unwrap_or_default();
    told.retain(Value::is_object);
    if told.is_empty() {
        told.push(json!({ "resource": String::from_utf8_lossy(&draft.body) }));
    }
    told.iter_mut().for_each(|one| one["clientState"] = VERIFY_TOKEN.into());
    draft.body = json!({ "value": told }).to_string().into_bytes();
    Spots { text_in_body: Some(VERIFY_TOKEN), ..Spots::default() }
}

fn either<T>([one, other]: [T; 2], way: u8) -> [T; 2] {
    if way.is_multiple_of(2) { [one, other] } else { [other, one] }
}

fn by_secret(parts: &[&[u8]]) -> Vec<u8> {
    mac(hmac::HMAC_SHA256, SECRET.as_bytes(), &parts.concat())
}

fn mac(algorithm: hmac::Algorithm, key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn now() -> String {
    now_seconds().to_string()
}

/// A P-256 key, as the source's variable has it.
pub(crate) fn pem(point: &[u8]) -> String {
    let head = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE").unwrap();
    let der = [&head, &point[1..]].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(der))
}
