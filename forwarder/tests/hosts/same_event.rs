//! Every request through every host.

use crate::KEY;
use crate::message::Message;
use crate::requests::{Case, cases};
use crate::stage::{Duplicates, Host, Limits};

#[tokio::test(flavor = "multi_thread")]
async fn every_host_makes_the_same_event_of_the_same_request() {
    for host in Host::all().await {
        for case in cases().into_iter().filter(|case| carries(host.limits, case)) {
            let place = format!("{} on {}", case.name, host.name);
            let answer = host.exchange(&case.request()).await;
            assert_eq!(answer.status, 200, "{place}: {}", answer.body);
            let message = host.message().await;
            assert!(answer.body.contains(message.attribute("id")), "{place}: {}", answer.body);
            check(&message, &case, host.limits, &place);
        }
        assert!(host.has_no_message().await, "{} made more than one event of a request", host.name);
    }
}

/// Whether the platform lets this request through at all.
fn carries(limits: Limits, case: &Case) -> bool {
    let beyond_ascii = |(_, value): &(&str, Vec<u8>)| !value.is_ascii();
    let beyond_utf8 = |(_, value): &(&str, Vec<u8>)| str::from_utf8(value).is_err();
    let is_text =
        case.headers.iter().any(|(name, value)| *name == "content-type" && value.starts_with(b"application/json"));
    (limits.utf8_headers || !case.headers.iter().any(beyond_ascii))
        && (limits.latin1_headers || !case.headers.iter().any(beyond_utf8))
        && (limits.binary_text || !is_text || str::from_utf8(&case.body).is_ok())
}

fn check(message: &Message, case: &Case, limits: Limits, place: &str) {
    assert!(message.body() == case.body, "{place}: another body, of {} bytes", message.body().len());
    let read =
        ["source", "type", "tenant", "verified", "httpmethod", "httppath", "httpquery", "httpclient", "idorigin"];
    let expected = [
        case.source,
        case.event_type,
        case.tenant,
        case.verified,
        "POST",
        case.path,
        case.query,
        "127.0.0.1",
        "forwarder",
    ];
    for (name, expected) in read.into_iter().zip(expected) {
        assert_eq!(message.attribute(name), expected, "{place}: {name}");
    }
    for (name, _) in &case.headers {
        if !["x-forwarded-for", "authorization", "x-functions-key"].contains(name) {
            assert_eq!(message.header(name), handed_on(case, name, limits.duplicates), "{place}: {name}");
        }
    }
    assert!(!message.text().contains(KEY), "{place}: a key is stored: {}", message.text());
}

/// The values of a header as the platform hands them on.
fn handed_on(case: &Case, name: &str, duplicates: Duplicates) -> Vec<String> {
    let values = case.headers.iter().filter(|(found, _)| *found == name);
    let values: Vec<String> = values
        .map(|(_, value)| match str::from_utf8(value) {
            Ok(text) => text.to_owned(),
            Err(_) => value.iter().copied().map(char::from).collect(),
        })
        .collect();
    match duplicates {
        Duplicates::Kept => values,
        Duplicates::Joined => vec![values.join(", ")],
        Duplicates::First => values[..1].to_vec(),
    }
}
