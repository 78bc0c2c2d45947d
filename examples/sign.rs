//! How each provider signs a body.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// What every provider here signs with, but those of Standard Webhooks. Yours each have a secret of their own.
pub(crate) const SECRET: &str = "quickstart-secret";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

type Headers = Vec<(&'static str, String)>;

pub(crate) fn not_at_all(_: &str) -> Headers {
    Vec::new()
}

pub(crate) fn standard_webhooks(body: &str) -> Headers {
    let [timestamp, signature] = webhook("msg_p5jXN8AQM9LWM0D4loKWxJek", body);
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned();
    vec![("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)]
}

pub(crate) fn svix(body: &str) -> Headers {
    let [timestamp, signature] = webhook("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", body);
    let id = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk".to_owned();
    vec![("svix-id", id), ("svix-timestamp", timestamp), ("svix-signature", signature)]
}

pub(crate) fn stripe(body: &str) -> Headers {
    let now = now();
    vec![("Stripe-Signature", format!("t={now},v1={}", hex(SECRET.as_bytes(), &format!("{now}.{body}"))))]
}

pub(crate) fn slack(body: &str) -> Headers {
    let now = now();
    let signature = format!("v0={}", hex(SECRET.as_bytes(), &format!("v0:{now}:{body}")));
    vec![("X-Slack-Request-Timestamp", now), ("X-Slack-Signature", signature)]
}

pub(crate) fn github(body: &str) -> Headers {
    vec![("X-Hub-Signature-256", format!("sha256={}", hex(SECRET.as_bytes(), body)))]
}

pub(crate) fn meta(body: &str) -> Headers {
    github(body)
}

pub(crate) fn shopify(body: &str) -> Headers {
    vec![("X-Shopify-Hmac-SHA256", STANDARD.encode(sign(SECRET.as_bytes(), body)))]
}

pub(crate) fn dropbox(body: &str) -> Headers {
    vec![("X-Dropbox-Signature", hex(SECRET.as_bytes(), body))]
}

/// Timestamp and signature of Standard Webhooks.
fn webhook(id: &str, body: &str) -> [String; 2] {
    let now = now();
    let key = WEBHOOK_SECRET.strip_prefix("whsec_").and_then(|secret| STANDARD.decode(secret).ok()).unwrap_or_default();
    let signature = format!("v1,{}", STANDARD.encode(sign(&key, &format!("{id}.{now}.{body}"))));
    [now, signature]
}

fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string()
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hex(key: &[u8], text: &str) -> String {
    sign(key, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
