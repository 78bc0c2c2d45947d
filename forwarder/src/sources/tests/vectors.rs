//! Published signatures: each with where it is from.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::Signed;

pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const V1: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
pub(super) const V1A: &str =
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
pub(super) const SIGNED_AT: u64 = 1_614_265_330;

/// Of the reference libraries of Standard Webhooks in Python and JavaScript.
pub(super) fn standard_webhooks() -> Signed {
    let headers = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", V1),
    ];
    let settings = &[("SOURCE_A_SIGNING_SECRET", SECRET)];
    Signed::new("standard-webhooks", settings, &headers, r#"{"test": 2432232314}"#, SIGNED_AT)
}

/// Of those in Rust.
pub(super) fn standard_webhooks_in_rust() -> Signed {
    let headers = [
        ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
        ("webhook-timestamp", "1649367553"),
        ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
    ];
    let settings = &[("SOURCE_A_SIGNING_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")];
    let body = r#"{"email":"test@example.com","username":"test_user"}"#;
    Signed::new("standard-webhooks", settings, &headers, body, 1_649_367_553)
}

/// Of Svix's server.
pub(super) fn svix_by_public_key() -> Signed {
    let headers =
        [("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("svix-timestamp", "1614265330"), ("svix-signature", V1A)];
    let settings = &[("SOURCE_A_PUBLIC_KEY", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")];
    Signed::new("standard-webhooks", settings, &headers, r#"{"test": 2432232314}"#, SIGNED_AT)
}

/// Made with the constants of Stripe's own library; none is published with its signature.
pub(super) fn stripe() -> Signed {
    let signature = "t=1533204620,v1=b211a6d90b230f214d40f639a5547af1198a989ecb45d03e3db0ab7bdcfe15d6";
    let body = "{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}";
    let settings = &[("SOURCE_A_SIGNING_SECRET", "whsec_test_secret")];
    Signed::new("stripe", settings, &[("stripe-signature", signature)], body, 1_533_204_620)
}

/// Of GitHub's library for them.
pub(super) fn github() -> Signed {
    let signature = "sha256=4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3";
    let settings = &[("SOURCE_A_SIGNING_SECRET", "mysecret")];
    Signed::new("github", settings, &[("x-hub-signature-256", signature)], r#"{"foo":"bar"}"#, 0)
}

/// Of convoy's tests, as are the next ones: one code, written in hex and in Base64.
pub(super) fn meta() -> Signed {
    let signature = "sha256=d7a154547e7c35e31c4c820e20237650939c3d34dae136e30a7757ca61abb4cf";
    let settings = &[("SOURCE_A_SIGNING_SECRET", "Convoy"), ("SOURCE_A_VERIFY_TOKEN", "t")];
    Signed::new("meta", settings, &[("x-hub-signature-256", signature)], "Test Payload Body", 0)
}

pub(super) fn dropbox() -> Signed {
    let signature = "d7a154547e7c35e31c4c820e20237650939c3d34dae136e30a7757ca61abb4cf";
    let settings = &[("SOURCE_A_SIGNING_SECRET", "Convoy")];
    Signed::new("dropbox", settings, &[("x-dropbox-signature", signature)], "Test Payload Body", 0)
}

pub(super) fn shopify(header: &'static str) -> Signed {
    let settings = &[("SOURCE_A_SIGNING_SECRET", "other Convoy")];
    let headers = [(header, "16FUVH58NeMcTIIOICN2UJOcPTTa4TbjCndXymGrtM8=")];
    Signed::new("shopify", settings, &headers, "Test Payload Body", 0)
}

/// Of Slack's documentation.
pub(super) fn slack() -> Signed {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F\
                96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let headers = [
        ("x-slack-request-timestamp", "1531420618"),
        ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    ];
    let settings = &[("SOURCE_A_SIGNING_SECRET", "8f742231b10e8888abcd99yyyzzz85a5")];
    Signed::new("slack", settings, &headers, body, 1_531_420_618)
}

/// Of Twilio's library for Python, the form without what can be written in two ways.
pub(super) fn twilio() -> Signed {
    let settings =
        &[("SOURCE_A_SIGNING_SECRET", "12345"), ("SOURCE_A_URL", "https://mycompany.com/myapp.php?foo=1&bar=2")];
    let body = "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234";
    Signed::new("twilio", settings, &[("x-twilio-signature", "IK+Dwps556ElfBT0I3Rgjkr1wJU=")], body, 0)
}

/// What Stripe signs, in the words of the variables.
pub(super) fn described() -> Signed {
    let settings = &[
        ("SOURCE_A_SIGNING_SECRET", "whsec_test_secret"),
        ("SOURCE_A_SIGNATURE_HEADER", "X-Signature"),
        ("SOURCE_A_SIGNATURE_FORMAT", "v1={sha256-hex}"),
        ("SOURCE_A_SIGNED_CONTENT", "{timestamp}.{body}"),
        ("SOURCE_A_TIMESTAMP_HEADER", "X-Timestamp"),
    ];
    let signature = "v1=b211a6d90b230f214d40f639a5547af1198a989ecb45d03e3db0ab7bdcfe15d6";
    let body = "{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}";
    Signed::new("hmac", settings, &[("x-signature", signature), ("x-timestamp", "1533204620")], body, 1_533_204_620)
}

pub(super) fn all() -> Vec<Signed> {
    vec![
        standard_webhooks(),
        standard_webhooks_in_rust(),
        svix_by_public_key(),
        stripe(),
        github(),
        meta(),
        dropbox(),
        shopify("x-shopify-hmac-sha256"),
        shopify("shopify-hmac-sha256"),
        slack(),
        twilio(),
        described(),
    ]
}

/// With a key of our own: Fatture in Cloud publishes no token. It ends at `at`, so it is good a second before.
pub(super) static FATTURE_IN_CLOUD: LazyLock<Signed> = LazyLock::new(|| {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let claims = r#"{"jti":"198:f059b211","iss":"https://api-v2.fattureincloud.it","exp":1679396413,"sub":"company:108061","aud":["https://hooks.example/fic"]}"#;
    let text = [r#"{"typ":"JWT","alg":"ES256"}"#, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(&random, text.as_bytes()).unwrap());

    let der =
        [&STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE").unwrap(), &key.public_key().as_ref()[1..]].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(der));
    let settings = vec![("SOURCE_A_URL", "https://hooks.example/fic"), ("SOURCE_A_PUBLIC_KEY", &*pem.leak())];
    let authorization = format!("Bearer {text}.{signature}");
    let headers = [("authorization", &*authorization), ("ce-id", "198:f059b211"), ("ce-subject", "company:108061")];
    Signed::new("fatture-in-cloud", settings.leak(), &headers, r#"{"data":{"ids":[3062300]}}"#, 1_679_396_413)
});
