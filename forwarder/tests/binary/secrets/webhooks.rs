//! Sources that have secrets, and requests that show them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;

use super::canaries::Canaries;
use super::{Variables, borrowed};
use crate::process::{post, run};

/// One source for each kind of proof.
pub(crate) fn sources(secrets: &mut Canaries) -> Variables {
    vec![
        ("SOURCE_E_CONOMIC_ACCESS_KEY", format!("{} {}", secrets.of("Key"), secrets.of("SecondKey"))),
        ("SOURCE_GITHUB_SIGNING_SECRET", format!("{} {}", secrets.of("Github"), secrets.of("OldGithub"))),
        ("SOURCE_STANDARD_WEBHOOKS_SIGNING_SECRET", format!("whsec_{}", STANDARD.encode(secrets.of("Standard")))),
        ("SOURCE_STRIPE_SIGNING_SECRET", secrets.of("Stripe")),
        ("SOURCE_SLACK_SIGNING_SECRET", secrets.of("Slack")),
        ("SOURCE_GRAPH_VERIFY_TOKEN", secrets.of("Graph")),
        ("SOURCE_META_SIGNING_SECRET", secrets.of("Meta")),
        ("SOURCE_META_VERIFY_TOKEN", secrets.of("MetaToken")),
        ("SOURCE_TWILIO_SIGNING_SECRET", secrets.of("Twilio")),
        ("SOURCE_TWILIO_URL", format!("https://user:{}@hooks.example/webhooks/twilio", secrets.of("TwilioUrl"))),
        ("SOURCE_FATTURE_IN_CLOUD_URL", format!("https://hooks.example/fic?key={}", secrets.of("FattureUrl"))),
        ("SOURCE_FATTURE_IN_CLOUD_ACCESS_KEY", secrets.of("FattureKey")),
        ("SOURCE_TENANTS_SCHEME", "plain".to_owned()),
        ("SOURCE_TENANTS_MASTER_KEY", secrets.of("TenantsMasterKey")),
        ("SOURCE_SHOP_SCHEME", "hmac".to_owned()),
        ("SOURCE_SHOP_SIGNING_SECRET", secrets.of("Shop")),
        ("SOURCE_SHOP_SIGNATURE_HEADER", "x-signature".to_owned()),
        ("SOURCE_SHOP_PATH", "/hook".to_owned()),
    ]
}

fn of<'a>(variables: &'a Variables, name: &str) -> &'a str {
    &variables.iter().find(|(other, _)| *other == name).unwrap().1
}

/// Requests that are taken, refused, answered and not understood, each with secrets wherever it has room for one. The
/// first are taken.
pub(crate) fn requests(sources: &Variables, secrets: &mut Canaries) -> (usize, Vec<Vec<u8>>) {
    let (body, header, query) = (secrets.of("Body"), secrets.of("Header"), secrets.of("Query"));
    let key = of(sources, "SOURCE_E_CONOMIC_ACCESS_KEY").split(' ').next().unwrap();
    let own = format!("X-Own: {header}\r\nCookie: {header}\r\n");
    let basic = STANDARD.encode(format!("user:{key}"));
    let github = of(sources, "SOURCE_GITHUB_SIGNING_SECRET").split(' ').next().unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, github.as_bytes()), body.as_bytes());
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let state = json!({ "value": [{ "clientState": of(sources, "SOURCE_GRAPH_VERIFY_TOKEN") }] }).to_string();
    let to = |target: &str, headers: &str, body: &str| {
        post(&format!("{target}?a={query}"), format!("{own}{headers}").as_bytes(), body.as_bytes())
    };
    let mut all = vec![
        post(&format!("/webhooks/e-conomic/t?key={key}&a={query}"), own.as_bytes(), body.as_bytes()),
        to("/webhooks/e-conomic/fails", &format!("X-Webhook-Key: {key}\r\n"), &body),
        to("/webhooks/e-conomic/panics", &format!("Authorization: Bearer {key}\r\n"), &body),
        to("/webhooks/e-conomic/undecodable", &format!("Authorization: Basic {basic}\r\n"), &body),
        to("/webhooks/github", &format!("X-Hub-Signature-256: sha256={tag}\r\n"), &body),
        to("/webhooks/graph", "", &state),
        post(&format!("/webhooks/tenants?tenant=42&key={}", tenant_key(sources, secrets)), b"", body.as_bytes()),
    ];
    let taken = all.len();

    let shown = secrets.of("Shown");
    let signature = format!(
        "Authorization: Bearer {shown}\r\nX-Hub-Signature-256: sha256={shown}\r\nwebhook-id: {shown}\r\n\
         webhook-timestamp: 1\r\nwebhook-signature: v1,{shown}\r\nStripe-Signature: t=1,v1={shown}\r\n\
         X-Slack-Request-Timestamp: {shown}\r\nX-Slack-Signature: v0={shown}\r\nX-Twilio-Signature: {shown}\r\n\
         X-Signature: {shown}\r\nX-Webhook-Key: {shown}\r\n"
    );
    for source in [
        "e-conomic",
        "github",
        "standard-webhooks",
        "stripe",
        "slack",
        "graph",
        "meta",
        "twilio",
        "fatture-in-cloud",
        "shop",
    ] {
        all.push(to(&format!("/webhooks/{source}"), &signature, &body));
    }
    let master = of(sources, "SOURCE_TENANTS_MASTER_KEY");
    all.push(post(&format!("/webhooks/tenants?tenant=42&key={master}"), b"", body.as_bytes()));
    all.push(to("/hook", &signature, &body));
    all.push(to(&format!("/webhooks/{query}"), "", &body));
    all.push(to("/webhooks/e-conomic", &format!("X-Webhook-Key: {key}\r\n"), &body.repeat(100)));
    all.push(to("/webhooks/e-conomic", &format!("{own}X-Webhook-Key: {key}\r\n{}", "X: y\r\n".repeat(100)), &body));
    all.push(to(&format!("/{}", query.repeat(400)), "", &body));
    let token = of(sources, "SOURCE_META_VERIFY_TOKEN");
    for token in [token, &shown] {
        let question = format!("/webhooks/meta?hub.mode=subscribe&hub.challenge=1&hub.verify_token={token}");
        all.push(format!("GET {question} HTTP/1.1\r\nconnection: close\r\n\r\n").into_bytes());
    }
    for malformed in [
        format!("POST /webhooks/e-conomic?key={key} HTTP/9\r\nx: {header}\r\n\r\n{body}"),
        format!("{body}\r\n\r\n"),
        format!("POST /webhooks/e-conomic?key={key} HTTP/1.1\r\n{header}\r\n\r\n"),
        format!("POST /webhooks/e-conomic?key={key} HTTP/1.1\r\ncontent-length: {body}\r\n\r\n"),
        format!("POST /webhooks/e-conomic?key={key} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{body}\r\n"),
        format!(
            "POST /webhooks/e-conomic?key={key} HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: {body}\r\n\r\n"
        ),
        format!("DELETE /webhooks/e-conomic?key={key} HTTP/1.1\r\nconnection: close\r\nx: {header}\r\n\r\n"),
    ] {
        all.push(malformed.into_bytes());
    }
    (taken, all)
}

/// The key of the tenant 42. The command that prints it shows no other secret.
fn tenant_key(sources: &Variables, secrets: &mut Canaries) -> String {
    let output = run(&["url", "https://hooks.example", "tenants", "42"], &borrowed(sources));
    let printed = String::from_utf8(output.stdout).unwrap();
    secrets.assert_absent("url", &printed);
    let (_, key) = printed.trim_end().split_once("key=").unwrap_or_else(|| panic!("no key in {printed:?}"));
    secrets.add("TenantKey", key);
    key.to_owned()
}
