//! Each provider's question is answered as the provider asks for it, and nothing is queued.

use insta::assert_snapshot;
use serde_json::json;

use crate::providers::slack_headers;
use crate::support::{Answer, Server, post};
use crate::token::Issuer;

const CHALLENGE: &str = "292ff90a85ae68be5be1b2808a56cd183c3e8f72373b6cdda8e9dfd8e08f0f05";

fn request(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: test\r\n{headers}\r\n")
}

async fn ask(server: &Server, request: impl AsRef<[u8]>) -> Answer {
    let answer = server.exchange(request).await;
    assert_eq!(server.queue.started(), 0);
    answer
}

fn fatture_in_cloud(issuer: &Issuer) -> Server {
    Server::start(&[
        ("SOURCE_FATTURE_IN_CLOUD_URL", "https://hooks.example/fic"),
        ("SOURCE_FATTURE_IN_CLOUD_PUBLIC_KEY", &issuer.public_key()),
    ])
}

#[tokio::test]
async fn fatture_in_cloud_asks_by_header_or_by_query() {
    let issuer = Issuer::new();
    let server = fatture_in_cloud(&issuer);
    let token = format!("Authorization: Bearer {}\r\n", issuer.token(&json!({ "jti": null, "sub": null })));
    let header = format!("{token}x-fic-verification-challenge: {CHALLENGE}\r\n");
    assert_snapshot!(ask(&server, request("GET", "/webhooks/fatture-in-cloud", &header)).await.text(), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    content-length: 83

    {"verification":"292ff90a85ae68be5be1b2808a56cd183c3e8f72373b6cdda8e9dfd8e08f0f05"}
    "#);
    let by_query = format!("/webhooks/fatture-in-cloud?x-fic-verification-challenge={CHALLENGE}");
    let answer = ask(&server, request("GET", &by_query, &token)).await;
    assert_eq!((answer.status, answer.body), (200, format!(r#"{{"verification":"{CHALLENGE}"}}"#)));
}

#[tokio::test]
async fn fatture_in_cloud_has_to_prove_itself_when_it_asks() {
    let issuer = Issuer::new();
    let server = fatture_in_cloud(&issuer);
    let target = format!("/webhooks/fatture-in-cloud?x-fic-verification-challenge={CHALLENGE}");
    let with = |token: String| request("GET", &target, &format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(ask(&server, request("GET", &target, "")).await.status, 401);
    assert_eq!(ask(&server, with(Issuer::new().token(&json!({})))).await.status, 401);
    assert_eq!(ask(&server, with(issuer.token(&json!({ "aud": ["https://other.example/fic"] })))).await.status, 401);
    assert_eq!(ask(&server, with(issuer.token(&json!({ "exp": 1_700_000_000 })))).await.status, 401);
    let no_question = with(issuer.token(&json!({}))).replace("?x-fic-verification-challenge", "?x");
    assert_eq!(ask(&server, no_question).await.status, 400);
}

#[tokio::test]
async fn slack_asks_with_a_signature() {
    let server = Server::start(&[("SOURCE_SLACK_SIGNING_SECRET", "secret")]);
    let body = r#"{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    let signed = slack_headers("secret", body);
    assert_snapshot!(ask(&server, post("/webhooks/slack", &signed, body)).await.text(), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    content-length: 68

    {"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}
    "#);
    assert_eq!(ask(&server, post("/webhooks/slack", "", body)).await.status, 401);
}

#[tokio::test]
async fn slack_looks_at_the_certificate_without_a_signature() {
    let server = Server::start(&[("SOURCE_SLACK_SIGNING_SECRET", "secret")]);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = ask(&server, post("/webhooks/slack", form, "ssl_check=1&token=Jhj5dZrVaK7ZwHHjRyZWjbDl")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    for body in ["ssl_check=0", "ssl_check=", "token=1", ""] {
        assert_eq!(ask(&server, post("/webhooks/slack", form, body)).await.status, 401, "{body}");
    }
    // What is signed is a webhook, whatever is in it.
    let signed = slack_headers("secret", "ssl_check=1");
    assert_eq!(server.exchange(post("/webhooks/slack", &signed, "ssl_check=1")).await.status, 200);
    assert_eq!(server.queue.started(), 1);
}

#[tokio::test]
async fn event_grid_asks_with_an_event_or_by_options() {
    let server = Server::start(&[("SOURCE_EVENT_GRID_ACCESS_KEY", "k")]);
    let body = r#"[{"id":"2d1781af-3a4c-4d7c-bd0c-e34b19da4e66","topic":"/t","subject":"","data":{"validationCode":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6","validationUrl":"https://rp.example/validate"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","eventTime":"2018-01-25T22:12:19.4556811Z","metadataVersion":"1","dataVersion":"1"}]"#;
    let header = "aeg-event-type: SubscriptionValidation\r\n";
    assert_snapshot!(ask(&server, post("/webhooks/event-grid?key=k", header, body)).await.text(), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    content-length: 61

    {"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}
    "#);
    assert_eq!(ask(&server, post("/webhooks/event-grid", header, body)).await.status, 401);
    let options = request("OPTIONS", "/webhooks/event-grid?key=k", "WebHook-Request-Origin: eventgrid.azure.net\r\n");
    assert_snapshot!(ask(&server, options).await.text(), @r#"
    HTTP/1.1 200 OK
    allow: POST
    webhook-allowed-rate: *
    webhook-allowed-origin: eventgrid.azure.net
    content-length: 0
    "#);
}

#[tokio::test]
async fn cloudevents_ask_whether_they_may_send() {
    let server = Server::start(&[("SOURCE_CLOUDEVENTS_ACCESS_KEY", "k")]);
    let origin = "WebHook-Request-Origin: events.example\r\nWebHook-Request-Rate: 120\r\n";
    let answer = ask(&server, request("OPTIONS", "/webhooks/cloudevents?key=k", origin)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("webhook-allowed-origin"), Some("events.example"));
    assert_eq!((answer.header("webhook-allowed-rate"), answer.header("allow")), (Some("*"), Some("POST")));
    assert_eq!(ask(&server, request("OPTIONS", "/webhooks/cloudevents", origin)).await.status, 401);
    assert_eq!(ask(&server, request("OPTIONS", "/webhooks/cloudevents?key=k", "")).await.status, 400);
    assert_eq!(ask(&server, request("GET", "/webhooks/cloudevents?key=k", origin)).await.status, 405);
}

#[tokio::test]
async fn graph_asks_for_its_token_in_plain_text() {
    let server = Server::start(&[("SOURCE_GRAPH_VERIFY_TOKEN", "t")]);
    let target = "/webhooks/graph?validationToken=Validation%3A+Testing%20%3Cb%3E";
    let answer = ask(&server, post(target, "content-type: text/plain\r\n", "")).await;
    assert_snapshot!(answer.text(), @r#"
    HTTP/1.1 200 OK
    content-type: text/plain
    x-content-type-options: nosniff
    content-length: 23

    Validation: Testing <b>
    "#);
}

#[tokio::test]
async fn meta_asks_with_the_token_it_was_given() {
    let settings = [("SOURCE_META_SIGNING_SECRET", "s"), ("SOURCE_META_VERIFY_TOKEN", "meatyhamhock")];
    let server = Server::start(&settings);
    let target = "/webhooks/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=meatyhamhock";
    assert_snapshot!(ask(&server, request("GET", target, "")).await.text(), @r#"
    HTTP/1.1 200 OK
    content-type: text/plain
    x-content-type-options: nosniff
    content-length: 10

    1158201444
    "#);
    assert_snapshot!(ask(&server, request("GET", &target.replace("hock", "lock"), "")).await.text(), @r#"
    HTTP/1.1 401 Unauthorized
    content-type: application/problem+json
    www-authenticate: Bearer
    content-length: 106

    {"detail":"the verify token is missing or wrong","status":401,"title":"Unauthorized","type":"about:blank"}
    "#);
    assert_eq!(
        ask(&server, request("GET", &target.replace("&hub.verify_token=meatyhamhock", ""), "")).await.status,
        401
    );
    assert_eq!(ask(&server, request("GET", &target.replace("subscribe", "unsubscribe"), "")).await.status, 400);
}

#[tokio::test]
async fn dropbox_asks_in_plain_text() {
    let server = Server::start(&[("SOURCE_DROPBOX_SIGNING_SECRET", "s")]);
    assert_snapshot!(ask(&server, request("GET", "/webhooks/dropbox?challenge=abc123", "")).await.text(), @r#"
    HTTP/1.1 200 OK
    content-type: text/plain
    x-content-type-options: nosniff
    content-length: 6

    abc123
    "#);
    assert_eq!(ask(&server, request("GET", "/webhooks/dropbox", "")).await.status, 400);
}
