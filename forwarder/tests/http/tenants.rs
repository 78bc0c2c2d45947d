//! Sources whose tenants have a key each: what it opens, and the URL that it is given in.

use insta::assert_snapshot;
use webhook_forwarder::{Env, tenant_url};

use crate::providers::{facts, taken};
use crate::support::{Server, post};

const MASTER: (&str, &str) = ("SOURCE_E_CONOMIC_MASTER_KEY", "0123456789abcdef0123456789abcdef");

/// What stands behind the base, as it is sent: e-conomic fills in the merge fields.
fn target(tenant: &str, event_type: &str) -> String {
    let url = tenant_url(Env::from_pairs([MASTER]), "https://hooks.example/", "e-conomic", tenant, Some(event_type));
    let url = url.unwrap().replace("[OLDNUMBER]", "33").replace("[NEWNUMBER]", "33");
    url.strip_prefix("https://hooks.example").unwrap().to_owned()
}

#[tokio::test]
async fn a_tenant_is_proven_by_its_own_url() {
    let server = Server::start(&[MASTER]);
    let event = taken(&server, post(&target("123456", "product-updated"), "", "")).await;
    assert_snapshot!(facts(&event), @"e-conomic product-updated id=ours tenant=123456 subject=- verified=key");
    assert_eq!(event.http.query, "tenant=123456&newnumber=33&oldnumber=33");
    // A number that was filled in as it is, and has a `#` in it: nobody sends what stands behind that.
    let filled_in = target("123456", "product-updated").replace("=33", "=A#1");
    let event = taken(&server, post(filled_in.split('#').next().unwrap(), "", "")).await;
    assert_eq!(event.http.query, "tenant=123456&newnumber=A");
    let event = taken(&server, post(&target("a/b c&key=+%æ", "ORDER/PAID ?"), "", "")).await;
    assert_snapshot!(facts(&event), @"e-conomic ORDER/PAID ? id=ours tenant=a/b c&key=+%æ subject=- verified=key");
}

#[tokio::test]
async fn a_key_opens_nothing_but_its_tenant() {
    let server = Server::start(&[MASTER]);
    let good = target("123456", "product-updated");
    let (before, behind) = good.split_once("&key=").unwrap();
    let (key, _) = behind.split_once('&').unwrap();
    for refused in [
        before.to_owned(),
        good.replace("tenant=123456", "tenant=123457"),
        good.replace("tenant=123456&", ""),
        good.replace("tenant=123456", "tenant=123456&tenant=123457"),
        good.replace("tenant=123456", "tenant=123457&tenant=123456"),
        format!("{before}&key={}", &key[1..]),
        format!("{before}&key={}", MASTER.1),
    ] {
        assert_eq!(server.post(&refused, "").await.status, 401, "{refused}");
    }
    let by_header = post(before, &format!("Authorization: Basic {}\r\n", basic(key)), "");
    assert_eq!(taken(&server, by_header).await.tenant.as_deref(), Some("123456"));
    assert_eq!(server.queue.started(), 1);
}

fn basic(password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("e-conomic:{password}"))
}

#[tokio::test]
async fn the_providers_word_on_the_tenant_must_be_that_of_the_key() {
    let master = ("SOURCE_SHOPIFY_MASTER_KEY", MASTER.1);
    let server = Server::start(&[master, ("SOURCE_SHOPIFY_SIGNING_SECRET", "Convoy")]);
    let url = tenant_url(
        Env::from_pairs([master, ("SOURCE_SHOPIFY_SIGNING_SECRET", "x")]),
        "http://h",
        "shopify",
        "a.example",
        None,
    );
    let target = url.unwrap().replace("http://h", "");
    let signed = |shop: &str| {
        let signature = "16FUVH58NeMcTIIOICN2UJOcPTTa4TbjCndXymGrtM8=";
        let headers = format!("X-Shopify-Hmac-Sha256: {signature}\r\nX-Shopify-Shop-Domain: {shop}\r\n");
        post(&target, &headers, "Test Payload Body")
    };
    assert_eq!(taken(&server, signed("a.example")).await.verified.as_str(), "signature");
    let answer = server.exchange(signed("b.example")).await;
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("the event is of another tenant than the access key"), "{}", answer.body);
    assert_eq!(server.queue.started(), 1);
}

#[tokio::test]
async fn a_key_for_all_may_stand_beside_those_of_tenants() {
    let server = Server::start(&[MASTER, ("SOURCE_E_CONOMIC_ACCESS_KEY", "k")]);
    assert_eq!(taken(&server, post("/webhooks/e-conomic/t?tenant=7&key=k", "", "")).await.tenant.as_deref(), Some("7"));
    assert_eq!(taken(&server, post(&target("8", "T"), "", "")).await.tenant.as_deref(), Some("8"));
    assert_eq!(server.post("/webhooks/e-conomic/t?tenant=7&key=l", "").await.status, 401);
}

/// Mail programs look where a link leads.
#[tokio::test]
async fn a_url_that_nobody_has_filled_in_is_no_event() {
    let server = Server::start(&[MASTER]);
    let target = |event_type| {
        let url = tenant_url(Env::from_pairs([MASTER]), "http://h", "e-conomic", "1", Some(event_type));
        url.unwrap().replace("http://h", "")
    };
    let legacy = target("invoice-booked");
    let escaped = legacy.replace('[', "%5B").replace(']', "%5D");
    let bare = legacy.replace("invoiceno=", "");
    for target in [escaped, bare, legacy] {
        assert_eq!(
            server.exchange(format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n")).await.status,
            400,
            "{target}"
        );
    }
    assert_eq!(server.queue.started(), 0);

    // Somebody has asked for a field that the web hook does not have.
    let sent = target("product-updated").replace("[NEWNUMBER]", "33");
    assert_eq!(server.exchange(format!("GET {sent} HTTP/1.1\r\nhost: test\r\n\r\n")).await.status, 200);
    // Somebody has asked for none, which e-conomic allows: a link that is looked at is not worth a web hook that is lost.
    let sent = target("INVOICE_BOOKED");
    assert_eq!(server.exchange(format!("GET {sent} HTTP/1.1\r\nhost: test\r\n\r\n")).await.status, 200);
}

#[test]
fn a_url_that_could_not_be_used_is_not_made() {
    let shop = ("SOURCE_SHOP_MASTER_KEY", MASTER.1);
    let url = "https://hooks.example";
    let endless = "X".repeat(201);
    let problems: Vec<String> = [
        (shop, "hooks.example", "shop", "", Some("..")),
        (shop, "https://hooks.example/?a", "shop", "a\n", Some("")),
        (shop, url, "Shop", "1", None),
        (MASTER, url, "e-conomic", "1", Some("product-update")),
        (MASTER, url, "e-conomic", "1", None),
        (MASTER, "ftp://hooks.example", "e-conomic", "1", Some(&*endless)),
        (("SOURCE_SHOP_OPEN", "yes"), url, "shop", "1", None),
        (("SOURCE_SHOP_MASTER_KEY", "short"), url, "shop", "1", None),
    ]
    .into_iter()
    .map(|(variable, base, source, tenant, event_type)| {
        tenant_url(Env::from_pairs([variable]), base, source, tenant, event_type).unwrap_err().to_string()
    })
    .collect();
    assert_snapshot!(problems.join("\n"), @r#"
    <base>: is not where a forwarder can be reached, like https://hooks.example; <tenant>: is empty, or has control characters; <type>: is empty, only dots, too long, or has control characters
    <base>: is not where a forwarder can be reached, like https://hooks.example; <tenant>: is empty, or has control characters; <type>: is empty, only dots, too long, or has control characters
    <source>: 'Shop' is not configured; configured are: shop
    <type>: is needed by e-conomic, whose requests do not name it: the name of the web hook like product-updated or invoice-booked, or of an event type of the Webhooks API like INVOICE_BOOKED
    <type>: is needed by e-conomic, whose requests do not name it: the name of the web hook like product-updated or invoice-booked, or of an event type of the Webhooks API like INVOICE_BOOKED
    <base>: is not where a forwarder can be reached, like https://hooks.example; <type>: is empty, only dots, too long, or has control characters
    SOURCE_SHOP_MASTER_KEY: is not set, and makes the keys of tenants: set it to a long random key, here and where webhooks are received
    SOURCE_SHOP_MASTER_KEY: holds a key of less than 32 characters: set it to a random one
    "#);
}
