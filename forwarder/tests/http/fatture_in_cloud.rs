//! Fatture in Cloud: a token proves the event's id and subject, in both modes of CloudEvents.

use insta::assert_snapshot;
use serde_json::json;
use webhook_queue::format_time;

use crate::providers::{facts, now, taken};
use crate::support::{Server, post};
use crate::token::Issuer;

const BINARY: &str = "ce-type: it.fattureincloud.webhooks.issued_documents.invoices.create\r\n\
    ce-time: 2023-03-21T09:00:13+01:00\r\nce-subject: company:108061\r\nce-specversion: 1.0\r\n\
    ce-source: https://api-v2.fattureincloud.it\r\nce-id: 198:f059b211-24f4-44ab-9859-b1613a9a0712\r\n\
    Content-Type: application/json\r\n";
const STRUCTURED: &str = r#"{"id":"198:f059b211-24f4-44ab-9859-b1613a9a0712","source":"https://api-v2.fattureincloud.it","specversion":"1.0","type":"it.fattureincloud.webhooks.issued_documents.invoices.create","subject":"company:108061","time":"2023-03-21T09:00:13+01:00","datacontenttype":"application/json","data":{"ids":[3062300]}}"#;

#[tokio::test]
async fn fatture_in_cloud_is_read_in_both_modes() {
    let issuer = Issuer::new();
    let server = Server::start(&[
        ("SOURCE_FIC_SCHEME", "fatture-in-cloud"),
        ("SOURCE_FIC_URL", "https://hooks.example/fic"),
        ("SOURCE_FIC_PUBLIC_KEY", &issuer.public_key()),
    ]);
    let authorization = format!("Authorization: Bearer {}\r\n", issuer.token(&json!({})));
    let binary = post("/webhooks/fic", &format!("{authorization}{BINARY}"), r#"{"data":{"ids":[3062300]}}"#);
    let event = taken(&server, binary).await;
    assert_snapshot!(facts(&event), @"fic it.fattureincloud.webhooks.issued_documents.invoices.create id=198:f059b211-24f4-44ab-9859-b1613a9a0712 tenant=108061 subject=company:108061 verified=token");
    assert_eq!(format_time(event.time), "2023-03-21T08:00:13.000000Z");
    assert_eq!((event.header("authorization"), &event.body[..]), (None, &br#"{"data":{"ids":[3062300]}}"#[..]));
    for content_type in ["application/cloudevents+json", "application/json"] {
        let headers = format!("{authorization}Content-Type: {content_type}\r\n");
        let structured = taken(&server, post("/webhooks/fic", &headers, STRUCTURED)).await;
        assert_eq!((facts(&structured), structured.time), (facts(&event), event.time));
    }
}

#[tokio::test]
async fn a_token_of_fatture_in_cloud_is_good_for_one_event_of_one_receiver() {
    let issuer = Issuer::new();
    let server = Server::start(&[
        ("SOURCE_FATTURE_IN_CLOUD_URL", "https://hooks.example/fic"),
        ("SOURCE_FATTURE_IN_CLOUD_PUBLIC_KEY", &issuer.public_key()),
    ]);
    let status = async |token: String, headers: &str, body: &str| {
        let headers = format!("Authorization: Bearer {token}\r\n{headers}");
        server.exchange(post("/webhooks/fatture-in-cloud", &headers, body)).await.status
    };
    let good = issuer.token(&json!({}));
    for changed in [
        json!({ "aud": [] }),
        json!({ "aud": "https://hooks.example/fic2" }),
        json!({ "aud": null }),
        json!({ "iss": "https://api-v2.fattureincloud.example" }),
        json!({ "exp": now() - 1 }),
        json!({ "exp": null }),
        json!({ "jti": "198:f059b211-24f4-44ab-9859-b1613a9a0713" }),
        json!({ "jti": null }),
        json!({ "sub": "company:108062" }),
        json!({ "sub": null }),
    ] {
        assert_eq!(status(issuer.token(&changed), BINARY, "{}").await, 401, "{changed}");
        assert_eq!(status(issuer.token(&changed), "", STRUCTURED).await, 401, "{changed}");
    }
    assert_eq!(status(Issuer::new().token(&json!({})), BINARY, "{}").await, 401);
    let claims =
        json!({ "iss": "https://api-v2.fattureincloud.it", "exp": now() + 60, "aud": "https://hooks.example/fic" });
    for algorithm in ["none", "HS256", "RS256", "es256"] {
        assert_eq!(
            status(issuer.signed(&json!({ "alg": algorithm }), &claims), BINARY, "{}").await,
            401,
            "{algorithm}"
        );
    }
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    for token in ["", "x", "a.b.c", &unsigned, &good.replace('.', "")] {
        assert_eq!(status(token.to_owned(), BINARY, "{}").await, 401, "{token}");
    }
    for index in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        assert_eq!(status(String::from_utf8(changed).unwrap(), BINARY, "{}").await, 401, "{index}");
    }
    assert_eq!(status(good.clone(), "", r#"{"data":{"ids":[1]}}"#).await, 401);
    assert_eq!(server.queue.started(), 0);
    assert_eq!(status(good, BINARY, "{}").await, 200);
}
