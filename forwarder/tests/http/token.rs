//! A provider that signs tokens by ES256, with a key of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// What a P-256 key has before its point, in DER.
const PREFIX: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";

pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    pub(crate) fn new() -> Issuer {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Issuer { key, random }
    }

    /// As PEM in one line, its breaks written out.
    pub(crate) fn public_key(&self) -> String {
        let mut der = STANDARD.decode(PREFIX).unwrap();
        der.extend_from_slice(&self.key.public_key().as_ref()[1..]);
        format!("-----BEGIN PUBLIC KEY-----\\n{}\\n-----END PUBLIC KEY-----\\n", STANDARD.encode(der))
    }

    /// For an event of the company 108061, sent to `https://hooks.example/fic`, with these claims changed.
    pub(crate) fn token(&self, changed: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "jti": "198:f059b211-24f4-44ab-9859-b1613a9a0712",
            "iss": "https://api-v2.fattureincloud.it",
            "exp": now + 3 * 60 * 60,
            "iat": now,
            "sub": "company:108061",
            "aud": ["https://hooks.example/fic"],
            "aid": 1,
        });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.signed(&json!({ "typ": "JWT", "alg": "ES256" }), &claims)
    }

    pub(crate) fn signed(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(&self.random, text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
