//! Against a server of our own: there is no published message with its certificate.

mod stage;

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use testbed::{HttpsServer, eventually};
use tokio::task::JoinSet;
use tokio::time::Instant;
use webhook_queue::format_time;
use webhook_queue::http_client::{Connections, client_config};

use super::certificates::{MOST_FETCHING, MOST_KEPT};
use super::{HTTPS, TopicCheck};
use stage::{CERTIFICATE, CONFIRMATION, HOST, PATIENCE, SIGNER, Stage, TOPIC, answer, certificate, message, signer};

#[tokio::test]
async fn a_signed_message_of_the_topic_is_taken() {
    let stage = Stage::start().await;
    let texts = ["Hello world!", "", "a\nMessageId\n1\n\"\\ æ 😀", &"x".repeat(200_000)];
    for (index, (version, text)) in [(1, texts[0]), (2, texts[1]), (1, texts[2]), (2, texts[3])].into_iter().enumerate()
    {
        let body = message("Notification", version, json!({ "Message": text, "Subject": null, "UnsubscribeURL": "x" }));
        assert_eq!(stage.send(body.clone()).await, StatusCode::OK);
        assert_eq!(stage.events()[index].body, body);
    }
    let event = stage.events().remove(0);
    assert_eq!((event.event_type.as_str(), event.verified.as_str()), ("Notification", "signature"));
    assert_eq!((event.id.as_str(), event.id_origin.as_str()), ("22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "provider"));
    assert_eq!(format_time(event.time), "2012-05-02T00:54:06.655000Z");
    assert_eq!(stage.amazon.requests(), [format!("GET {HOST} {CERTIFICATE}")], "it is fetched once");
}

#[tokio::test]
async fn no_byte_of_it_can_be_changed() {
    let stage = Stage::start().await;
    let body = message("Notification", 2, json!({}));
    assert_eq!(stage.send(body.clone()).await, StatusCode::OK);
    for index in 0..body.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = body.clone();
            changed[index] ^= flip;
            let status = stage.send(changed).await;
            assert_ne!(status, StatusCode::OK, "{index} {flip:x}");
        }
    }
    assert_eq!(stage.events().len(), 1);
}

#[tokio::test]
async fn a_message_of_another_kind_topic_or_key_is_refused() {
    let stage = Stage::start().await;
    for (name, value) in [("TopicArn", "arn:aws:sns:eu-north-1:123456789012:others"), ("TopicArn", "")] {
        stage.assert_refused_unasked(name, message("Notification", 1, json!({ name: value }))).await;
    }
    let good = String::from_utf8(message("Notification", 1, json!({}))).unwrap();
    for (what, body) in [
        ("no JSON", "Hello world!".to_owned()),
        ("no message", "{}".to_owned()),
        ("twice", good.replace(r#""Message":"#, r#""Message":"x","Message":"#)),
        ("another type", good.replace("Notification", "Notice")),
        ("another version", good.replace(r#""SignatureVersion":"1""#, r#""SignatureVersion":"3""#)),
        ("no signature", good.replace(r#""Signature":"#, r#""Signatures":"#)),
    ] {
        assert_ne!(good, body, "{what}");
        stage.assert_refused_unasked(what, body.into_bytes()).await;
    }
    let (status, body) = stage.send_with("true", good.clone().into_bytes()).await;
    assert_eq!((status, stage.amazon.connections()), (StatusCode::UNAUTHORIZED, 0));
    assert!(String::from_utf8_lossy(&body).contains("turn raw message delivery off"));

    let as_the_other_version = good.replace(r#""SignatureVersion":"1""#, r#""SignatureVersion":"2""#);
    assert_eq!(stage.send(as_the_other_version.into_bytes()).await, StatusCode::UNAUTHORIZED);
    stage.amazon.put("/other.pem", certificate(signer(&["rsa:2048"]).path()));
    let by_another = good.replace(CERTIFICATE, "/other.pem").into_bytes();
    assert_eq!(stage.send(by_another).await, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.events().len(), 0);
}

/// The items of a list would be taken for the fields in their order: a message with no name that anybody reads, and no id.
#[tokio::test]
async fn a_message_in_another_form_is_none() {
    let stage = Stage::start().await;
    for kind in ["Notification", "SubscriptionConfirmation"] {
        let fields: Value = serde_json::from_slice(&message(kind, 1, json!({ "Subject": null }))).unwrap();
        let names = ["Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "Token", "SubscribeURL"];
        let names = names.into_iter().chain(["SignatureVersion", "Signature", "SigningCertURL"]);
        let list: Vec<&Value> = names.map(|name| &fields[name]).collect();
        stage.assert_refused_unasked(kind, json!(list).to_string().into_bytes()).await;
    }
}

/// The URLs that are no certificate and no confirmation are in `region`; these are those that would do harm.
#[tokio::test]
async fn nobody_else_is_asked() {
    let stage = Stage::start().await;
    for host in [
        "http://sns.eu-north-1.amazonaws.com",
        "https://sns.eu-west-1.amazonaws.com",
        "https://sns.eu-north-1.amazonaws.com.evil.example",
        "https://sns.eu-north-1.amazonaws.com@evil.example",
        "https://sns.eu-north-1.amazonaws.com:8443",
        "https://evil.example#sns.eu-north-1.amazonaws.com",
        "https://169.254.169.254",
        "https://localhost",
        "file://",
    ] {
        let certificate = json!({ "SigningCertURL": format!("{host}{CERTIFICATE}") });
        stage.assert_refused_unasked(host, message("Notification", 1, certificate)).await;
        let confirmation = json!({ "SubscribeURL": format!("{host}{CONFIRMATION}") });
        stage.assert_refused_unasked(host, message("SubscriptionConfirmation", 1, confirmation)).await;
    }
    let other_action = json!({ "SubscribeURL": format!("https://{HOST}/?Action=Publish&TopicArn={TOPIC}&Token=2") });
    stage.assert_refused_unasked("another action", message("SubscriptionConfirmation", 1, other_action)).await;
}

#[tokio::test]
async fn a_subscription_is_confirmed_and_not_queued() {
    let stage = Stage::start().await;
    let asked = message("SubscriptionConfirmation", 1, json!({ "Subject": null }));
    assert_eq!(stage.send(asked.clone()).await, StatusCode::SERVICE_UNAVAILABLE, "Amazon does not confirm");
    stage.amazon.put(CONFIRMATION, answer(302, "https://evil.example/"));
    assert_eq!(stage.send(asked.clone()).await, StatusCode::SERVICE_UNAVAILABLE);
    stage.amazon.put(CONFIRMATION, answer(200, ""));
    let forged = String::from_utf8(asked.clone()).unwrap().replace("Hello", "Hallo");
    assert_eq!(stage.send(forged.into_bytes()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.send_with("false", asked).await, (StatusCode::OK, Bytes::new()));

    let confirmation = format!("GET {HOST} {CONFIRMATION}");
    let certificate = format!("GET {HOST} {CERTIFICATE}");
    assert_eq!(stage.amazon.requests(), [certificate, confirmation.clone(), confirmation.clone(), confirmation]);
    assert_eq!(stage.events().len(), 0);
}

#[tokio::test]
async fn the_end_of_a_subscription_is_neither_queued_nor_undone() {
    let stage = Stage::start().await;
    let ended = message("UnsubscribeConfirmation", 2, json!({ "Subject": null }));
    assert_eq!(stage.send_with("false", ended).await, (StatusCode::OK, Bytes::new()));
    assert_eq!(stage.amazon.requests(), [format!("GET {HOST} {CERTIFICATE}")]);
    assert_eq!(stage.events().len(), 0);
}

#[tokio::test]
async fn while_the_certificate_cannot_be_had_it_is_our_fault() {
    let stage = Stage::patient("200ms").await;
    let body = message("Notification", 1, json!({}));
    let unusable = [
        answer(404, ""),
        answer(500, ""),
        answer(302, &format!("https://{HOST}/other.pem")),
        Response::new(Full::from("no certificate")),
        Response::new(Full::from(vec![b'x'; 5 * 1024 * 1024])),
        certificate(signer(&["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]).path()),
    ];
    for unusable in unusable {
        stage.amazon.put(CERTIFICATE, unusable);
        assert_eq!(stage.send(body.clone()).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    stage.amazon.stall(CERTIFICATE);
    assert_eq!(stage.send(body.clone()).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stage.events().len(), 0);
    assert!(stage.amazon.requests().iter().all(|request| *request == format!("GET {HOST} {CERTIFICATE}")));

    // The request that began to fetch it is long gone.
    let asked = stage.amazon.connections();
    stage.amazon.put(CERTIFICATE, certificate(SIGNER.path()));
    eventually("it is here", PATIENCE, async || stage.check.certificates.kept(CERTIFICATE)).await;
    assert_eq!(stage.send(body).await, StatusCode::OK);
    assert_eq!(stage.amazon.connections(), asked);
}

#[tokio::test]
async fn whoever_is_not_amazon_is_not_believed() {
    let other = HttpsServer::start("sns.eu-west-1.amazonaws.com").await;
    other.put(CERTIFICATE, certificate(SIGNER.path()));
    let tls = |server: &HttpsServer| client_config(Some(&server.ca_file()));
    let body = message("Notification", 1, json!({}));
    let stranger = Stage::start().await;
    for (tls, address) in [
        (client_config(None), stranger.amazon.address()),
        (tls(&other), stranger.amazon.address()),
        (tls(&other), other.address()),
    ] {
        let check = TopicCheck::connected(TOPIC, |host| Ok(Connections::new(host, HTTPS, Some(tls?), 0)?.at(address)));
        let deadline = Instant::now() + PATIENCE;
        let refused = check.unwrap().unwrap().verify(&body, deadline).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!((stranger.amazon.requests().len(), other.requests().len()), (0, 0));
}

#[tokio::test]
async fn a_burst_asks_a_few_times() {
    let stage = Arc::new(Stage::start().await);
    let body = message("Notification", 1, json!({}));
    let mut burst = JoinSet::new();
    for _ in 0..50 {
        let (stage, body) = (stage.clone(), body.clone());
        burst.spawn(async move { stage.send(body).await });
    }
    assert!(burst.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    assert!(stage.amazon.connections() <= MOST_FETCHING, "{}", stage.amazon.connections());
}

#[tokio::test]
async fn few_certificates_are_kept() {
    let stage = Stage::start().await;
    for number in 0..=MOST_KEPT {
        let path = format!("/{number}.pem");
        stage.amazon.put(&path, certificate(SIGNER.path()));
        let body = message("Notification", 1, json!({ "SigningCertURL": format!("https://{HOST}{path}") }));
        assert_eq!((stage.send(body.clone()).await, stage.send(body).await), (StatusCode::OK, StatusCode::OK));
        assert_eq!(stage.amazon.connections(), number + 1);
    }
    let first = message("Notification", 1, json!({ "SigningCertURL": format!("https://{HOST}/0.pem") }));
    assert_eq!(stage.send(first).await, StatusCode::OK);
    assert_eq!(stage.amazon.connections(), MOST_KEPT + 2);
}
