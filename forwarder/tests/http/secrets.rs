//! What is secret is in no log and in no answer.

use serde_json::json;

use crate::log::Log;
use crate::providers::slack_headers;
use crate::support::{Server, post};
use crate::token::Issuer;

#[tokio::test]
async fn secrets_are_in_no_log_and_in_no_answer() {
    let log = Log::default();
    let _logging = log.of_this_thread();

    let issuer = Issuer::new();
    let server = Server::start(&[
        ("SOURCE_E_CONOMIC_ACCESS_KEY", "s3cret"),
        ("SOURCE_FATTURE_IN_CLOUD_URL", "https://hooks.example/fic"),
        ("SOURCE_FATTURE_IN_CLOUD_PUBLIC_KEY", &issuer.public_key()),
        ("SOURCE_GITHUB_SIGNING_SECRET", "s3cret"),
        ("SOURCE_GRAPH_VERIFY_TOKEN", "s3cret"),
        ("SOURCE_META_SIGNING_SECRET", "s3cret"),
        ("SOURCE_META_VERIFY_TOKEN", "s3cret"),
        ("SOURCE_SLACK_SIGNING_SECRET", "s3cret"),
        ("SOURCE_STANDARD_WEBHOOKS_SIGNING_SECRET", "whsec_s3crets3cret"),
        ("SOURCE_STRIPE_SIGNING_SECRET", "s3cret"),
        ("SOURCE_TWILIO_SIGNING_SECRET", "s3cret"),
        ("SOURCE_TWILIO_URL", "https://hooks.example/twilio?s3cret"),
    ]);
    let token = issuer.token(&json!({}));
    let ce = "ce-id: s3cret\r\nce-subject: s3cret\r\n";
    let mut answers = Vec::new();
    for (target, headers, body) in [
        ("e-conomic/t?key=s3cret", "", "s3cret"),
        ("e-conomic/t?key=s3cret2&code=s3cret", "", "s3cret"),
        ("fatture-in-cloud?s3cret", &*format!("Authorization: Bearer {token}\r\n{ce}"), "s3cret"),
        ("github?s3cret", "X-Hub-Signature-256: sha256=s3cret\r\n", "s3cret"),
        ("graph", "", r#"{"value":[{"clientState":"s3cret"}]}"#),
        ("graph", "", r#"{"value":[{"clientState":"s3cret2"}]}"#),
        ("meta?s3cret", "X-Hub-Signature-256: s3cret\r\n", "s3cret"),
        ("slack", &slack_headers("s3cret", "s3cret"), "s3cret"),
        ("slack", &slack_headers("s3cret2", "s3cret"), "s3cret"),
        (
            "standard-webhooks",
            "webhook-id: s3cret\r\nwebhook-timestamp: s3cret\r\nwebhook-signature: v1,s3cret\r\n",
            "s3cret",
        ),
        ("stripe", "Stripe-Signature: t=1,v1=s3cret\r\n", "s3cret"),
        ("twilio", "X-Twilio-Signature: s3cret\r\n", "s3cret"),
        ("s3cret", "", "s3cret"),
    ] {
        answers.push(server.exchange(post(&format!("/webhooks/{target}"), headers, body)).await.text());
    }
    let question = "/webhooks/meta?hub.mode=subscribe&hub.challenge=1&hub.verify_token=s3cret2";
    answers.push(server.exchange(format!("GET {question} HTTP/1.1\r\nhost: test\r\n\r\n")).await.text());

    let log = log.text();
    assert_eq!(log.matches("webhook refused").count(), 9, "{log}");
    assert_eq!(server.queue.started(), 4);
    for text in answers.iter().chain([&log]) {
        assert!(!text.contains("s3cret") && !text.contains(&token), "{text}");
    }
}
