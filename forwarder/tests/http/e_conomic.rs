//! e-conomic and Ecovelo, which sign nothing: everything is in the URL and in what the user wrote.

use insta::assert_snapshot;

use crate::providers::{facts, taken};
use crate::support::{Server, post};

#[tokio::test]
async fn e_conomic_sends_what_its_user_wrote() {
    let server = Server::start(&[("SOURCE_E_CONOMIC_ACCESS_KEY", "k")]);
    let own_page = post("/webhooks/e-conomic/product-updated?key=k&tenant=123456&newnumber=33&oldnumber=33", "", "");
    let event = taken(&server, own_page).await;
    assert_snapshot!(facts(&event), @"e-conomic product-updated id=ours tenant=123456 subject=- verified=key");
    assert_eq!((event.http.query.as_str(), &event.body[..]), ("tenant=123456&newnumber=33&oldnumber=33", &b""[..]));

    let json = "Content-Type: application/json\r\nX-Webhook-Key: k\r\n";
    let event = taken(&server, post("/webhooks/e-conomic?type=product-updated", json, "33&33")).await;
    assert_snapshot!(facts(&event), @"e-conomic product-updated id=ours tenant=- subject=- verified=key");
    let event = taken(&server, post("/webhooks/e-conomic/new", json, r#"{"id":"1","type":"t"}"#)).await;
    assert_snapshot!(facts(&event), @"e-conomic new id=ours tenant=- subject=- verified=key");
    let get = "GET /webhooks/e-conomic/invoice-booked?key=k&invoiceno=7 HTTP/1.1\r\nhost: test\r\n\r\n";
    let event = taken(&server, get.into()).await;
    assert_eq!((event.http.method.as_str(), event.http.query.as_str()), ("GET", "invoiceno=7"));
}

#[tokio::test]
async fn a_get_of_e_conomic_is_an_event_only_with_a_query() {
    let server = Server::start(&[("SOURCE_E_CONOMIC_ACCESS_KEY", "k")]);
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(server.exchange(get("/webhooks/e-conomic/invoice-booked?key=k")).await.status, 400);
    assert_eq!(server.exchange(get("/webhooks/e-conomic/invoice-booked?invoiceno=7")).await.status, 401);
    let put = server.exchange("PUT /webhooks/e-conomic?key=k HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, POST")));
    assert_eq!(server.queue.started(), 0);
}

#[tokio::test]
async fn ecovelo_is_known_by_a_key() {
    let server = Server::start(&[("SOURCE_ECOVELO_ACCESS_KEY", "k")]);
    let event = taken(&server, post("/webhooks/ecovelo/trip.terminated?key=k", "", r#"{"id":"x","type":"y"}"#)).await;
    assert_snapshot!(facts(&event), @"ecovelo trip.terminated id=ours tenant=- subject=- verified=key");
    assert_eq!(server.post("/webhooks/ecovelo/trip.terminated", "{}").await.status, 401);
}

/// Requests as e-conomic's own page and its integrators have configured them. The content type is a setting of its own and
/// says nothing about the body.
#[tokio::test]
async fn every_configuration_seen_in_the_wild_is_kept_as_it_is() {
    let server = Server::start(&[("SOURCE_E_CONOMIC_ACCESS_KEY", "k")]);
    let form = "application/x-www-form-urlencoded";
    for (target, content_type, body, query) in [
        ("/product-updated?newnumber=33&oldnumber=33&key=k", form, "", "newnumber=33&oldnumber=33"),
        ("/invoice-booked?invoiceno=10001&key=k", form, "", "invoiceno=10001"),
        ("/day-book-booked?key=k", form, "book=1&from=2&to=3", ""),
        ("/invoice-booked?key=k", form, "number=10001", ""),
        ("/customer-updated?key=k", form, "old=&new=7", ""),
        ("/product-updated?key=k", form, "33&33", ""),
        ("/product-updated?key=k", "application/json", "numbers=33&newnumber=33&oldnumber=", ""),
        ("/order-updated?APISource=eConomicOrder&key=k", form, "", "APISource=eConomicOrder"),
    ] {
        let headers = format!("Content-Type: {content_type}\r\n");
        let event = taken(&server, post(&format!("/webhooks/e-conomic{target}"), &headers, body)).await;
        assert_eq!((&event.body[..], event.http.query.as_str()), (body.as_bytes(), query));
        assert_eq!(event.header("content-type"), Some(content_type));
        assert_eq!(Some(event.event_type.as_str()), target[1..].split('?').next());
    }
}

#[tokio::test]
async fn two_updates_of_one_product_are_two_events() {
    let server = Server::start(&[("SOURCE_E_CONOMIC_ACCESS_KEY", "k")]);
    let update = post("/webhooks/e-conomic/product-updated?key=k", "", "newnumber=33&oldnumber=33");
    assert_ne!(taken(&server, update.clone()).await.id, taken(&server, update).await.id);
}

#[tokio::test]
async fn the_list_of_addresses_may_only_warn() {
    let server = Server::start(&[
        ("SOURCE_E_CONOMIC_ACCESS_KEY", "k"),
        ("SOURCE_E_CONOMIC_ALLOW_IPS", "e-conomic"),
        ("SOURCE_E_CONOMIC_ALLOW_IPS_MODE", "warn"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ]);
    let from = |address: &str| post("/webhooks/e-conomic?key=k", &format!("X-Forwarded-For: {address}\r\n"), "x");
    assert_eq!(taken(&server, from("54.72.52.167")).await.verified.as_str(), "key");
    assert_eq!(taken(&server, from("192.0.2.1")).await.verified.as_str(), "key");
}
