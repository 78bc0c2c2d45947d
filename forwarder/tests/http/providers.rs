//! Webhooks as each provider sends them: proven, read and queued, or refused.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use insta::assert_snapshot;
use ring::hmac;
use webhook_queue::{Event, format_time};

use crate::support::{Server, post};

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn sha256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn slack_headers(secret: &str, body: &str) -> String {
    let now = now();
    let signature = hex(&sha256(secret.as_bytes(), &format!("v0:{now}:{body}")));
    format!("X-Slack-Request-Timestamp: {now}\r\nX-Slack-Signature: v0={signature}\r\n")
}

/// Everything that is not the request itself.
pub(crate) fn facts(event: &Event) -> String {
    let id = if event.id_origin.as_str() == "provider" { &event.id } else { "ours" };
    format!(
        "{} {} id={id} tenant={} subject={} verified={}",
        event.source,
        event.event_type,
        event.tenant.as_deref().unwrap_or("-"),
        event.subject.as_deref().unwrap_or("-"),
        event.verified.as_str()
    )
}

/// The event that a request becomes, which must be accepted.
pub(crate) async fn taken(server: &Server, request: Vec<u8>) -> Event {
    let before = server.queue.events().len();
    let answer = server.exchange(request).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let event = server.queue.events().remove(before);
    assert_eq!(answer.body, format!(r#"{{"id":"{}"}}"#, event.id));
    event
}

#[tokio::test]
async fn signed_webhooks_say_who_and_what_they_are() {
    let server = Server::start(&[
        ("SOURCE_STANDARD_WEBHOOKS_SIGNING_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("SOURCE_STRIPE_SIGNING_SECRET", "whsec_s"),
        ("SOURCE_GITHUB_SIGNING_SECRET", "s"),
        ("SOURCE_SHOPIFY_SIGNING_SECRET", "s"),
        ("SOURCE_SLACK_SIGNING_SECRET", "s"),
        ("SOURCE_META_SIGNING_SECRET", "s"),
        ("SOURCE_META_VERIFY_TOKEN", "t"),
        ("SOURCE_DROPBOX_SIGNING_SECRET", "s"),
    ]);
    let now = now();
    let signed = |body: &str| hex(&sha256(b"s", body));

    let body = r#"{"type":"contact.created","data":{}}"#;
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signature = STANDARD.encode(sha256(&key, &format!("msg_1.{now}.{body}")));
    let headers = format!("webhook-id: msg_1\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{signature}\r\n");
    let event = taken(&server, post("/webhooks/standard-webhooks", &headers, body)).await;
    assert_snapshot!(facts(&event), @"standard-webhooks contact.created id=msg_1 tenant=- subject=- verified=signature");
    let event = taken(&server, post("/webhooks/standard-webhooks", &headers.replace("webhook-", "svix-"), body)).await;
    assert_snapshot!(facts(&event), @"standard-webhooks contact.created id=msg_1 tenant=- subject=- verified=signature");

    let body =
        r#"{"id":"evt_1","object":"event","account":"acct_1","type":"invoice.paid","data":{"object":{"id":"in_1"}}}"#;
    let headers =
        format!("Stripe-Signature: t={now},v1={},v0=x\r\n", hex(&sha256(b"whsec_s", &format!("{now}.{body}"))));
    let event = taken(&server, post("/webhooks/stripe", &headers, body)).await;
    assert_snapshot!(facts(&event), @"stripe invoice.paid id=evt_1 tenant=acct_1 subject=- verified=signature");

    let body = r#"{"action":"opened"}"#;
    let headers = format!(
        "X-GitHub-Event: issues\r\nX-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958\r\nX-Hub-Signature-256: sha256={}\r\n",
        signed(body)
    );
    let event = taken(&server, post("/webhooks/github", &headers, body)).await;
    assert_snapshot!(facts(&event), @"github issues id=72d3162e-cc78-11e3-81ab-4c9367dc0958 tenant=- subject=- verified=signature");

    let signature = STANDARD.encode(sha256(b"s", body));
    let headers = format!(
        "X-Shopify-Hmac-Sha256: {signature}\r\nX-Shopify-Topic: orders/create\r\nX-Shopify-Shop-Domain: a.myshopify.com\r\nX-Shopify-Webhook-Id: b1\r\nX-Shopify-Event-Id: e1\r\nX-Shopify-Triggered-At: 2026-01-02T03:04:05.678Z\r\n"
    );
    let event = taken(&server, post("/webhooks/shopify", &headers, body)).await;
    assert_snapshot!(facts(&event), @"shopify orders/create id=b1 tenant=a.myshopify.com subject=- verified=signature");
    assert_eq!(format_time(event.time), "2026-01-02T03:04:05.678000Z");
    let headers = headers.replace("X-Shopify-Event-Id: e1\r\n", "").replace("X-Shopify-", "Shopify-");
    let event = taken(&server, post("/webhooks/shopify", &headers, body)).await;
    assert_snapshot!(facts(&event), @"shopify orders/create id=ours tenant=a.myshopify.com subject=- verified=signature");

    let body = r#"{"team_id":"T1","event":{"type":"app_mention"},"type":"event_callback","event_id":"Ev1"}"#;
    let event = taken(&server, post("/webhooks/slack", &slack_headers("s", body), body)).await;
    assert_snapshot!(facts(&event), @"slack app_mention id=Ev1 tenant=T1 subject=- verified=signature");

    let body = r#"{"object":"page","entry":[{"id":"0"}]}"#;
    let headers = format!("X-Hub-Signature-256: sha256={}\r\n", signed(body));
    let event = taken(&server, post("/webhooks/meta", &headers, body)).await;
    assert_snapshot!(facts(&event), @"meta page id=ours tenant=- subject=- verified=signature");

    let headers = format!("X-Dropbox-Signature: {}\r\n", signed(body));
    let event = taken(&server, post("/webhooks/dropbox/files", &headers, body)).await;
    assert_snapshot!(facts(&event), @"dropbox files id=ours tenant=- subject=- verified=signature");

    let taken = server.queue.started();
    for source in ["standard-webhooks", "stripe", "github", "shopify", "slack", "meta", "dropbox"] {
        let answer = server.post(&format!("/webhooks/{source}"), body).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{source}");
    }
    assert_eq!(server.queue.started(), taken);
}

#[tokio::test]
async fn a_signature_is_asked_for_before_the_body_is_read() {
    let server = Server::start(&[("SOURCE_GITHUB_SIGNING_SECRET", "s"), ("MAX_BODY_BYTES", "10")]);
    let head = "POST /webhooks/github HTTP/1.1\r\ncontent-length: 999\r\nexpect: 100-continue\r\n\r\n";
    assert_snapshot!(server.exchange(head).await.text(), @r#"
    HTTP/1.1 401 Unauthorized
    content-type: application/problem+json
    www-authenticate: Bearer
    connection: close
    content-length: 128

    {"detail":"the signature is missing, or not in the form of the scheme","status":401,"title":"Unauthorized","type":"about:blank"}
    "#);
    let wrong = format!("X-Hub-Signature-256: sha256={}\r\n", "0".repeat(64));
    assert_snapshot!(server.exchange(post("/webhooks/github", &wrong, "x")).await.text(), @r#"
    HTTP/1.1 401 Unauthorized
    content-type: application/problem+json
    www-authenticate: Bearer
    content-length: 155

    {"detail":"the signature is wrong: the secret is another one, or the body was changed on its way","status":401,"title":"Unauthorized","type":"about:blank"}
    "#);
}

#[tokio::test]
async fn everything_that_is_configured_must_pass() {
    let server = Server::start(&[("SOURCE_GITHUB_SIGNING_SECRET", "s"), ("SOURCE_GITHUB_ACCESS_KEY", "k")]);
    let headers = format!("X-Hub-Signature-256: sha256={}\r\n", hex(&sha256(b"s", "x")));
    assert_eq!(server.exchange(post("/webhooks/github", &headers, "x")).await.status, 401);
    assert_eq!(server.exchange(post("/webhooks/github?key=k", "", "x")).await.status, 401);
    assert_eq!(taken(&server, post("/webhooks/github?key=k", &headers, "x")).await.verified.as_str(), "signature");
}

#[tokio::test]
async fn a_second_delivery_has_the_id_of_the_first() {
    let server = Server::start(&[("SOURCE_GITHUB_SIGNING_SECRET", "s")]);
    let headers = format!("X-GitHub-Delivery: d1\r\nX-Hub-Signature-256: sha256={}\r\n", hex(&sha256(b"s", "x")));
    let request = post("/webhooks/github", &headers, "x");
    assert_eq!(taken(&server, request.clone()).await.id, taken(&server, request).await.id);
}

#[tokio::test]
async fn any_hmac_can_be_described() {
    let server = Server::start(&[
        ("SOURCE_SHOP_SCHEME", "hmac"),
        ("SOURCE_SHOP_SIGNING_SECRET", "s"),
        ("SOURCE_SHOP_SIGNATURE_HEADER", "X-Shop-Signature"),
        ("SOURCE_SHOP_SIGNATURE_FORMAT", "sha512:{sha512-base64}"),
        ("SOURCE_SHOP_SIGNED_CONTENT", "{id}/{timestamp}/{body}/end"),
        ("SOURCE_SHOP_TIMESTAMP_HEADER", "X-Shop-Time"),
        ("SOURCE_SHOP_ID_HEADER", "X-Shop-Id"),
        ("SOURCE_SHOP_TYPE_HEADER", "X-Shop-Event"),
    ]);
    let text = format!("o1/{}/body/end", now());
    let tag = STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, b"s"), text.as_bytes()));
    let headers = format!(
        "X-Shop-Signature: sha512:{tag}\r\nX-Shop-Time: {}\r\nX-Shop-Id: o1\r\nX-Shop-Event: order.paid\r\n",
        text.split('/').nth(1).unwrap()
    );
    let event = taken(&server, post("/webhooks/shop", &headers, "body")).await;
    assert_snapshot!(facts(&event), @"shop order.paid id=o1 tenant=- subject=- verified=signature");
    assert_eq!(server.exchange(post("/webhooks/shop", &headers.replace("Id: o1", "Id: o2"), "body")).await.status, 401);
}

#[tokio::test]
async fn twilio_signs_the_public_url() {
    let server = Server::start(&[
        ("SOURCE_TWILIO_SIGNING_SECRET", "token"),
        ("SOURCE_TWILIO_URL", "https://hooks.example/prod/webhooks/twilio"),
    ]);
    let sign = |text: &str| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"token"), text.as_bytes());
        format!("X-Twilio-Signature: {}\r\nI-Twilio-Idempotency-Token: i1\r\n", STANDARD.encode(tag))
    };
    // The fields in the order of their names, nothing between them.
    let signed = sign("https://hooks.example/prod/webhooks/twilio/sms?a=1Bodyhi thereFrom+4512345678");
    let event = taken(&server, post("/api/webhooks/twilio/sms?a=1", &signed, "From=%2B4512345678&Body=hi+there")).await;
    assert_snapshot!(facts(&event), @"twilio sms id=i1 tenant=- subject=- verified=signature");
    let other_target = post("/webhooks/twilio/sms?a=2", &signed, "From=%2B4512345678&Body=hi+there");
    assert_eq!(server.exchange(other_target).await.status, 401);
}

#[tokio::test]
async fn graph_shows_its_token_in_every_notification() {
    let server = Server::start(&[("SOURCE_GRAPH_VERIFY_TOKEN", "t")]);
    let event =
        taken(&server, post("/webhooks/graph", "", r#"{"value":[{"clientState":"t"},{"id":"1","clientState":"t"}]}"#))
            .await;
    assert_snapshot!(facts(&event), @"graph webhook id=ours tenant=- subject=- verified=key");
    for body in
        ["", "{}", r#"{"value":[]}"#, r#"{"value":[{}]}"#, r#"{"value":[{"clientState":"t"},{"clientState":"u"}]}"#]
    {
        assert_eq!(server.post("/webhooks/graph", body).await.status, 401, "{body}");
    }
    assert_eq!(server.queue.started(), 1);
}

#[tokio::test]
async fn cloudevents_bring_their_own_attributes() {
    let server = Server::start(&[("SOURCE_CLOUDEVENTS_ACCESS_KEY", "k"), ("SOURCE_EVENT_GRID_ACCESS_KEY", "k")]);
    let headers = "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /a%20b\r\nce-type: t\r\nce-subject: %E2%82%AC\r\nAuthorization: Bearer k\r\n";
    let event = taken(&server, post("/webhooks/cloudevents", headers, "x")).await;
    assert_snapshot!(facts(&event), @"cloudevents t id=457be40fcdd757237b014e81ce8cb3cd32aad03c46531086333d9c01b0295546 tenant=- subject=€ verified=key");
    let grid = r#"[{"id":"g1","topic":"/t","subject":"s","data":{},"eventType":"Microsoft.Storage.BlobCreated","eventTime":"2026-01-02T03:04:05Z"}]"#;
    let event = taken(&server, post("/webhooks/event-grid?code=k", "aeg-event-type: Notification\r\n", grid)).await;
    assert_snapshot!(facts(&event), @"event-grid Microsoft.Storage.BlobCreated id=g1 tenant=- subject=s verified=key");
}
