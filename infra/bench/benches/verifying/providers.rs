//! One signed webhook of each scheme that verifies signatures, and two that show how much is not verifying.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bench::BODY_BYTES;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use webhook_queue_examples::SAMPLES;

const SECRET: &str = "a-long-random-secret";
/// What a P-256 key has before its point, in DER.
const P256_PREFIX: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";

/// A source, and a webhook for it.
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// Whether it is to be cheap: not where a private key signs.
    pub(crate) aims: bool,
}

/// All of them; the first proves nothing.
pub(crate) fn providers() -> Vec<Provider> {
    let keyed = vec![("x-webhook-key", SECRET.to_owned())];
    let mut all = vec![
        provider("plain, open", &[("OPEN", "yes")], Vec::new()),
        provider("plain, with a key", &[("ACCESS_KEY", SECRET)], keyed),
    ];
    for name in ["standard-webhooks", "stripe", "github", "shopify", "slack", "meta", "dropbox"] {
        let sample = SAMPLES.iter().find(|sample| sample.source == name).unwrap();
        let settings = [&[("SCHEME", name)], sample.settings].concat();
        all.push(provider(name, &settings, (sample.sign)(&body())));
    }
    all.extend([hmac_sha512(), twilio(), ed25519(), fatture_in_cloud()]);
    all
}

fn provider(name: &'static str, settings: &[(&str, &str)], headers: Vec<(&'static str, String)>) -> Provider {
    let variables = settings.iter().map(|(name, value)| (format!("SOURCE_X_{name}"), (*value).to_owned())).collect();
    Provider { name, variables, target: "/webhooks/x/t".to_owned(), headers, body: body(), aims: true }
}

/// JSON in which every scheme finds what it reads.
fn body() -> String {
    let start = r#"{"id":"evt_1","type":"t","account":"a","team_id":"T1","event_id":"Ev1","object":"page","note":""#;
    format!("{start}{}\"}}", "x".repeat(BODY_BYTES - start.len() - 2))
}

fn hmac_sha512() -> Provider {
    let settings = [
        ("SCHEME", "hmac"),
        ("SIGNING_SECRET", SECRET),
        ("SIGNATURE_HEADER", "x-signature"),
        ("SIGNATURE_FORMAT", "{sha512-base64}"),
    ];
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, SECRET.as_bytes()), body().as_bytes());
    provider("hmac, SHA-512", &settings, vec![("x-signature", STANDARD.encode(signature))])
}

fn twilio() -> Provider {
    const URL: &str = "https://hooks.example/webhooks/x";
    let start = "From=%2B4512345678&Body=";
    let text = "x".repeat(BODY_BYTES - start.len());
    let signed = format!("{URL}/tBody{text}From+4512345678");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    let settings = [("SCHEME", "twilio"), ("SIGNING_SECRET", SECRET), ("URL", URL)];
    Provider {
        body: format!("{start}{text}"),
        ..provider("twilio", &settings, vec![("x-twilio-signature", signature)])
    }
}

fn ed25519() -> Provider {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
    let now = now().to_string();
    let signature = STANDARD.encode(key.sign(format!("msg_1.{now}.{}", body()).as_bytes()));
    let public = format!("whpk_{}", STANDARD.encode(key.public_key()));
    let headers = vec![
        ("webhook-id", "msg_1".to_owned()),
        ("webhook-timestamp", now),
        ("webhook-signature", format!("v1a,{signature}")),
    ];
    let settings = [("SCHEME", "standard-webhooks"), ("PUBLIC_KEY", &*public)];
    Provider { aims: false, ..provider("standard-webhooks, Ed25519", &settings, headers) }
}

fn fatture_in_cloud() -> Provider {
    const URL: &str = "https://hooks.example/fic";
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
    let public = [&STANDARD.decode(P256_PREFIX).unwrap()[..], &key.public_key().as_ref()[1..]].concat();
    let public = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(public));
    let (id, subject) = ("198:f059b211-24f4-44ab-9859-b1613a9a0712", "company:108061");
    let claims = json!({ "jti": id, "iss": "https://api-v2.fattureincloud.it", "exp": now() + 3600, "sub": subject, "aud": [URL] });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&json!({ "typ": "JWT", "alg": "ES256" })), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(&random, text.as_bytes()).unwrap());
    let headers = vec![
        ("authorization", format!("Bearer {text}.{signature}")),
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", id.to_owned()),
        ("ce-type", "t".to_owned()),
        ("ce-subject", subject.to_owned()),
    ];
    let settings = [("SCHEME", "fatture-in-cloud"), ("URL", URL), ("PUBLIC_KEY", &*public)];
    Provider { aims: false, ..provider("fatture-in-cloud, ES256", &settings, headers) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
