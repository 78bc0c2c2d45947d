//! The sources: one of each scheme at least, all behind one forwarder.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::KeyPair as _;
use webhook_forwarder::{Env, Forwarder, ForwarderConfig};

use crate::queue::Memory;
use crate::sign::{self, ED25519, ES256};
use crate::sns;

/// What opens each source that wants one. Published examples were made with those behind it.
pub(crate) const ACCESS_KEY: &str = "fuzz-access-key";
pub(crate) const SECRET: &str = "fuzz-signing-secret";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const VERIFY_TOKEN: &str = "fuzz-verify-token";
pub(crate) const MASTER_KEY: &str = "fuzz-master-key-0123456789abcdef";
/// As its provider has it.
pub(crate) const TWILIO_URL: &str = "https://mycompany.com/myapp.php";
pub(crate) const FATTURE_IN_CLOUD_URL: &str = "https://hooks.example/webhooks/fatture-in-cloud";

/// How a source's provider proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Open,
    Key,
    /// Of the tenant that the query names.
    TenantKey,
    StandardWebhooks,
    StandardWebhooksByPublicKey,
    Stripe,
    /// In this header, after this text.
    Hex(&'static str, &'static str),
    Shopify,
    Slack,
    Twilio,
    Token,
    ClientState,
    Sns,
    /// Id, time and body, as the source's variables say.
    Described,
}

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) scheme: &'static str,
    pub(crate) proof: Proof,
    /// Beside its proof, an address on its list.
    pub(crate) near: bool,
}

const fn source(name: &'static str, scheme: &'static str, proof: Proof) -> Source {
    Source { name, scheme, proof, near: false }
}

/// Their letters are part of every input that is kept: new ones come at the end.
static SOURCES: &[Source] = &[
    source("plain", "plain", Proof::Key),
    source("e-conomic", "e-conomic", Proof::Key),
    source("ecovelo", "ecovelo", Proof::Key),
    source("fatture-in-cloud", "fatture-in-cloud", Proof::Token),
    source("standard-webhooks", "standard-webhooks", Proof::StandardWebhooks),
    source("svix", "standard-webhooks", Proof::StandardWebhooksByPublicKey),
    source("stripe", "stripe", Proof::Stripe),
    source("github", "github", Proof::Hex("x-hub-signature-256", "sha256=")),
    source("hmac", "hmac", Proof::Described),
    source("shopify", "shopify", Proof::Shopify),
    source("slack", "slack", Proof::Slack),
    source("cloudevents", "cloudevents", Proof::Key),
    source("event-grid", "event-grid", Proof::Key),
    source("graph", "graph", Proof::ClientState),
    source("meta", "meta", Proof::Hex("x-hub-signature-256", "sha256=")),
    source("dropbox", "dropbox", Proof::Hex("x-dropbox-signature", "")),
    source("twilio", "twilio", Proof::Twilio),
    source("open", "plain", Proof::Open),
    Source { name: "near", scheme: "plain", proof: Proof::Key, near: true },
    source("sns", "sns", Proof::Sns),
    source("tenants", "plain", Proof::TenantKey),
];

/// `a` is the first.
pub(crate) fn by_letter(letter: u8) -> &'static Source {
    &SOURCES[usize::from(letter.wrapping_sub(b'a')) % SOURCES.len()]
}

/// The sources, each with its scheme.
pub fn sources() -> impl Iterator<Item = (&'static str, &'static str)> {
    SOURCES.iter().map(|source| (source.name, source.scheme))
}

/// What must not be in an event or an answer.
pub(crate) fn secrets() -> impl Iterator<Item = &'static str> {
    [ACCESS_KEY, SECRET, WEBHOOK_SECRET, &WEBHOOK_SECRET[6..], VERIFY_TOKEN, MASTER_KEY].into_iter()
}

pub(crate) fn forwarder() -> Forwarder<Memory> {
    static FORWARDER: LazyLock<Forwarder<Memory>> = LazyLock::new(|| {
        let mut config = ForwarderConfig::with_env(Env::from_pairs(settings())).expect("the settings are good");
        webhook_forwarder::fuzzing::without_amazon(&mut config, sns::CERTIFICATE_PATH, sns::CERTIFICATE)
            .expect("it is a certificate");
        Forwarder::new(&config, Memory)
    });
    FORWARDER.clone()
}

fn settings() -> Vec<(String, String)> {
    let whpk = format!("whpk_{}", STANDARD.encode(ED25519.public_key()));
    let settings = [
        ("PLAIN_ACCESS_KEY", ACCESS_KEY),
        ("E_CONOMIC_ACCESS_KEY", ACCESS_KEY),
        ("ECOVELO_ACCESS_KEY", ACCESS_KEY),
        ("FATTURE_IN_CLOUD_URL", FATTURE_IN_CLOUD_URL),
        ("FATTURE_IN_CLOUD_PUBLIC_KEY", &sign::pem(ES256.public_key().as_ref())),
        ("STANDARD_WEBHOOKS_SIGNING_SECRET", &format!("{WEBHOOK_SECRET} whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")),
        ("SVIX_SCHEME", "standard-webhooks"),
        ("SVIX_PUBLIC_KEY", &format!("{whpk} whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")),
        ("STRIPE_SIGNING_SECRET", &format!("{SECRET} whsec_test_secret")),
        ("GITHUB_SIGNING_SECRET", &format!("{SECRET} mysecret")),
        ("HMAC_SIGNING_SECRET", SECRET),
        ("HMAC_SIGNATURE_HEADER", "X-Signature"),
        ("HMAC_SIGNATURE_FORMAT", "v1={sha512-base64}"),
        ("HMAC_SIGNED_CONTENT", "{id}.{timestamp}.{body}"),
        ("HMAC_TIMESTAMP_HEADER", "X-Timestamp"),
        ("HMAC_ID_HEADER", "X-Id"),
        ("HMAC_TYPE_HEADER", "X-Type"),
        ("SHOPIFY_SIGNING_SECRET", &format!("{SECRET} Convoy")),
        ("SLACK_SIGNING_SECRET", &format!("{SECRET} 8f742231b10e8888abcd99yyyzzz85a5")),
        ("CLOUDEVENTS_ACCESS_KEY", ACCESS_KEY),
        ("EVENT_GRID_ACCESS_KEY", ACCESS_KEY),
        ("GRAPH_VERIFY_TOKEN", VERIFY_TOKEN),
        ("META_SIGNING_SECRET", &format!("{SECRET} Convoy")),
        ("META_VERIFY_TOKEN", VERIFY_TOKEN),
        ("DROPBOX_SIGNING_SECRET", &format!("{SECRET} Convoy")),
        ("TWILIO_SIGNING_SECRET", &format!("{SECRET} 12345")),
        ("TWILIO_URL", TWILIO_URL),
        ("OPEN_OPEN", "yes"),
        ("OPEN_PATH", "/api/WebhookForwarder"),
        ("NEAR_ACCESS_KEY", ACCESS_KEY),
        ("NEAR_ALLOW_IPS", "192.0.2.0/24"),
        ("SNS_TOPIC", sns::TOPIC),
        ("TENANTS_SCHEME", "plain"),
        ("TENANTS_MASTER_KEY", &format!("{MASTER_KEY} another-{MASTER_KEY}")),
    ];
    settings.into_iter().map(|(name, value)| (format!("SOURCE_{name}"), value.to_owned())).collect()
}
