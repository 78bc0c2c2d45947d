//! One webhook of each provider.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const SECRET: &str = "it's-a-secret";
pub(crate) const KEY: &str = "a-long-random-key";
pub(crate) const TWILIO_URL: &str = "https://hooks.example/webhooks/twilio";
pub(crate) const FATTURE_IN_CLOUD_URL: &str = "https://hooks.example/fic";
/// What a P-256 key has before its point, in DER.
const P256_PREFIX: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";

/// One webhook, as its library is to make it.
pub(crate) struct Webhook {
    pub(crate) library: &'static str,
    pub(crate) source: &'static str,
    pub(crate) job: Value,
    /// What the handler must be told.
    pub(crate) facts: &'static str,
    /// What must not be changed: a header, `body` or `behind`; in it, all or what stands after this text.
    pub(crate) covered: &'static [(&'static str, &'static str)],
}

pub(crate) fn standard_webhook(library: &'static str) -> Webhook {
    const OWN: &[(&str, &str)] =
        &[("webhook-id", ""), ("webhook-timestamp", ""), ("webhook-signature", "v1,"), ("body", "")];
    const SVIX: &[(&str, &str)] = &[("svix-id", ""), ("svix-timestamp", ""), ("svix-signature", "v1,"), ("body", "")];
    let (source, covered) = if library == "svix" { ("svix", SVIX) } else { ("standard-webhooks", OWN) };
    let body = r#"{"type":"invoice.paid","data":{"note":"smør €"}}"#;
    Webhook {
        library,
        source,
        job: json!({ "secret": WEBHOOK_SECRET, "id": "msg_1", "body": body }),
        facts: "invoice.paid id=msg_1 tenant=- subject=- verified=signature",
        covered,
    }
}

pub(crate) fn stripe() -> Webhook {
    let body = r#"{"id":"evt_1","object":"event","account":"acct_1","type":"charge.failed","note":"smør €"}"#;
    Webhook {
        library: "stripe",
        source: "stripe",
        job: json!({ "secret": WEBHOOK_SECRET, "body": body }),
        facts: "charge.failed id=evt_1 tenant=acct_1 subject=- verified=signature",
        covered: &[("stripe-signature", "t="), ("stripe-signature", "v1="), ("body", "")],
    }
}

pub(crate) fn github() -> Webhook {
    let body = r#"{"action":"opened","issue":{"title":"smør €"}}"#;
    Webhook {
        library: "github",
        source: "github",
        job: json!({ "secret": SECRET, "id": "72d3162e-cc78-11e3-81ab-4c9367dc0958", "type": "issues", "body": body }),
        facts: "issues id=72d3162e-cc78-11e3-81ab-4c9367dc0958 tenant=- subject=- verified=signature",
        covered: &[("x-hub-signature-256", ""), ("body", "")],
    }
}

pub(crate) fn shopify() -> Webhook {
    let body = r#"{"id":820982911946154508,"note":"smør €"}"#;
    let job =
        json!({ "secret": SECRET, "id": "b54557e4", "type": "orders/create", "tenant": "a.example", "body": body });
    Webhook {
        library: "shopify",
        source: "shopify",
        job,
        facts: "orders/create id=b54557e4 tenant=a.example subject=- verified=signature",
        covered: &[("x-shopify-hmac-sha256", ""), ("body", "")],
    }
}

pub(crate) fn slack() -> Webhook {
    let body = r#"{"type":"event_callback","event_id":"Ev1","team_id":"T1","event":{"type":"app_mention","text":"€"}}"#;
    Webhook {
        library: "slack",
        source: "slack",
        job: json!({ "secret": SECRET, "body": body }),
        facts: "app_mention id=Ev1 tenant=T1 subject=- verified=signature",
        covered: &[("x-slack-request-timestamp", ""), ("x-slack-signature", ""), ("body", "")],
    }
}

pub(crate) fn twilio(library: &'static str) -> Webhook {
    let fields = json!({ "To": "+4587654321", "From": "+4512345678", "Body": "smør & €", "a": "" });
    let body = r#"{"specversion":"1.0","note":"smør €"}"#;
    Webhook {
        library,
        source: "twilio",
        job: json!({ "secret": SECRET, "id": "i1", "type": "sms", "publicUrl": TWILIO_URL, "fields": fields, "body": body }),
        facts: "sms id=i1 tenant=- subject=- verified=signature",
        covered: &[("x-twilio-signature", ""), ("behind", ""), ("body", "")],
    }
}

pub(crate) fn cloud_event(library: &'static str) -> Webhook {
    Webhook {
        library,
        source: "cloudevents",
        job: json!({ "secret": KEY, "id": "1", "type": "t", "subject": "smør", "data": { "ids": [1] } }),
        facts: "t id=https://api-v2.fattureincloud.it|1 tenant=- subject=smør verified=key",
        covered: &[("authorization", "")],
    }
}

pub(crate) fn fatture_in_cloud(library: &'static str, private_key: &str) -> Webhook {
    const IN_HEADERS: &[(&str, &str)] = &[("authorization", ""), ("ce-id", ""), ("ce-subject", "")];
    const IN_BODY: &[(&str, &str)] = &[("authorization", ""), ("body", "198:f059b211"), ("body", "company:")];
    Webhook {
        library,
        source: "fatture-in-cloud",
        job: json!({
            "secret": private_key,
            "id": "198:f059b211-24f4-44ab-9859-b1613a9a0712",
            "type": "it.fattureincloud.webhooks.issued_documents.invoices.create",
            "subject": "company:108061",
            "publicUrl": FATTURE_IN_CLOUD_URL,
            "data": { "ids": [3062300] },
        }),
        facts: "it.fattureincloud.webhooks.issued_documents.invoices.create id=198:f059b211-24f4-44ab-9859-b1613a9a0712 tenant=108061 subject=company:108061 verified=token",
        covered: if library.ends_with("binary") { IN_HEADERS } else { IN_BODY },
    }
}

/// A private key as PEM, and its public one.
pub(crate) fn p256_key() -> (String, String) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let public = [&STANDARD.decode(P256_PREFIX).unwrap()[..], &key.public_key().as_ref()[1..]].concat();
    let pem = |kind: &str, der: &[u8]| {
        format!("-----BEGIN {kind} KEY-----\n{}\n-----END {kind} KEY-----", STANDARD.encode(der))
    };
    (pem("PRIVATE", pkcs8.as_ref()), pem("PUBLIC", &public))
}
