//! What holds for every input.

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use percent_encoding::{percent_decode, percent_decode_str};
use serde_json::{Value, json};
use webhook_queue::{Event, Verified};

use crate::draft::Draft;
use crate::input::Signing;
use crate::queue::Outcome;
use crate::sns;
use crate::sources::{self, Proof, Source};

/// Every status that a request may be answered with.
const STATUSES: [u16; 10] = [200, 400, 401, 403, 404, 405, 413, 414, 431, 503];
/// Signed by their providers with secrets that the sources know. Nothing else can be accepted that was not signed here.
const PUBLISHED_BODIES: [&[u8]; 2] = [br#"{"foo":"bar"}"#, b"Test Payload Body"];
const MAX_ID_BYTES: usize = 128;
const MAX_TYPE_BYTES: usize = 200;
/// What is not kept, since it presents a key or may.
const NOT_KEPT: [&str; 6] =
    ["authorization", "cookie", "x-webhook-key", "x-functions-key", "x-original-url", "x-waws-unencoded-url"];

/// A request as it was sent.
pub(crate) struct Sent<'a> {
    /// The input.
    pub(crate) bytes: &'a [u8],
    pub(crate) source: &'a Source,
    pub(crate) signing: Signing,
    pub(crate) draft: &'a Draft,
    pub(crate) outcome: Outcome,
    pub(crate) client: Option<IpAddr>,
}

impl Sent<'_> {
    /// Whether the input itself knows the secrets, and so can do what only a provider can, and repeat them anywhere: also in
    /// the name of a header, whose letters become small, and with escapes in the query.
    fn knows_a_secret(&self) -> bool {
        let spellings =
            [self.bytes.to_vec(), percent_decode(self.bytes).collect()].map(|bytes| bytes.to_ascii_lowercase());
        let is_there = |text: &str| spellings.iter().any(|bytes| contains(bytes, text.as_bytes()));
        is_there("authorization") || sources::secrets().any(|secret| is_there(&secret.to_ascii_lowercase()))
    }

    /// Whether it may take a certificate, or the confirmation of a subscription: nobody can be asked for them.
    fn may_ask_amazon(&self) -> bool {
        if !self.is_for_the_source() {
            return self.source.proof == Proof::Sns || self.draft.target.contains("/webhooks/sns");
        }
        let is_subscription = || sns::kind(&self.draft.body).as_deref() == Some(sns::SUBSCRIPTION);
        self.source.proof == Proof::Sns && (self.signing != Signing::Signed || is_subscription())
    }

    fn is_for_the_source(&self) -> bool {
        self.draft.target.is_empty() || self.draft.target.starts_with(['/', '?'])
    }
}

/// A status that is documented, and its body says the same.
pub(crate) fn status(answer: &Response<Bytes>) {
    let status = answer.status();
    assert!(STATUSES.contains(&status.as_u16()), "answered {status}");
    if status != StatusCode::OK {
        let problem: Value = serde_json::from_slice(answer.body()).expect("a refusal is JSON");
        assert_eq!(problem["status"], status.as_u16(), "{problem}");
        assert_eq!(status == StatusCode::METHOD_NOT_ALLOWED, answer.headers().contains_key("allow"));
    }
    assert_eq!(status == StatusCode::SERVICE_UNAVAILABLE, answer.headers().contains_key("retry-after"));
}

/// 200 with an id exactly where an event was published, and no answer for which there is no reason.
pub(crate) fn answer(sent: &Sent<'_>, answer: &Response<Bytes>, published: Option<&Event>) {
    status(answer);
    let status = answer.status();
    if let Some(event) = published {
        assert_eq!(status, StatusCode::OK, "published, and not taken");
        assert_eq!(serde_json::from_slice::<Value>(answer.body()).ok(), Some(json!({ "id": event.id })));
    }
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            let is_confirmed = matches!(sent.outcome, Outcome::Confirmed | Outcome::TooLarge);
            assert!(!is_confirmed || sent.may_ask_amazon(), "failed without a reason");
        }
        StatusCode::PAYLOAD_TOO_LARGE => assert_eq!(sent.outcome, Outcome::TooLarge, "the body is not too large"),
        StatusCode::OK if sent.is_for_the_source() && published.is_none() => {
            assert!(has_handshakes(sent.source), "taken, and not published");
            if sent.source.proof == Proof::Sns {
                let is_the_last = sns::kind(&sent.draft.body).as_deref() == Some(sns::UNSUBSCRIPTION);
                assert!(is_the_last && sent.signing == Signing::Signed, "taken, and neither signed nor confirmed");
            }
        }
        StatusCode::UNAUTHORIZED => {
            let proven =
                sent.signing == Signing::Signed && sent.is_for_the_source() && sent.draft.method == Method::POST;
            assert!(!proven, "{} has signed this, and it was refused: {:?}", sent.source.name, answer.body());
        }
        StatusCode::FORBIDDEN => assert!(sent.source.near, "there is no list of addresses"),
        _ => {}
    }
    if !sent.knows_a_secret() {
        let headers = answer.headers().values().map(|value| value.as_bytes());
        for text in headers.chain([&answer.body()[..]]) {
            assert!(!sources::secrets().any(|secret| contains(text, secret.as_bytes())), "a secret is in the answer");
        }
    }
}

fn has_handshakes(source: &Source) -> bool {
    !matches!(
        source.scheme,
        "plain" | "e-conomic" | "ecovelo" | "standard-webhooks" | "stripe" | "github" | "hmac" | "shopify" | "twilio"
    )
}

/// Only what was proven is published; it is what was sent, without the keys.
pub(crate) fn event(sent: &Sent<'_>, event: &Event) {
    proven(sent, event);
    assert!(
        !event.id.is_empty() && event.id.len() <= MAX_ID_BYTES && event.id.bytes().all(|byte| byte.is_ascii_graphic())
    );
    assert!(!event.event_type.is_empty() && event.event_type.len() <= MAX_TYPE_BYTES);
    let names = [Some(&event.event_type), event.subject.as_ref(), event.tenant.as_ref()];
    assert!(!names.into_iter().flatten().any(|name| name.is_empty() || name.chars().any(char::is_control)));
    let client = sent.client.map(|client| client.to_string());
    assert_eq!((event.http.method.as_str(), &event.http.client), (sent.draft.method.as_str(), &client));

    assert_eq!(event.body, sent.draft.body, "the body was changed");
    let uri = sent.draft.uri(sent.source.name).expect("it was sent");
    let query = uri.query().unwrap_or_default();
    if query.split('&').any(is_key) {
        assert!(!event.http.query.split('&').any(is_key), "a key was kept");
    } else {
        assert_eq!(event.http.query, query, "the query was changed");
    }
    headers(sent.draft, event);
    if !sent.knows_a_secret() {
        let kept: String = event.attributes().into_iter().map(|(_, value)| value.into_owned()).collect();
        assert!(!sources::secrets().any(|secret| kept.contains(secret)), "a secret is in the event");
    }
}

fn proven(sent: &Sent<'_>, event: &Event) {
    if !sent.is_for_the_source() {
        return;
    }
    assert_eq!(event.source, sent.source.name);
    let expected = match sent.source.proof {
        Proof::Open => Verified::None,
        Proof::Key | Proof::TenantKey | Proof::ClientState => Verified::Key,
        Proof::Token => Verified::Token,
        _ => Verified::Signature,
    };
    assert_eq!(event.verified, expected, "{}", sent.source.name);
    if sent.source.proof == Proof::Open || sent.knows_a_secret() {
        return;
    }
    let published = sent.source.proof == Proof::Twilio || PUBLISHED_BODIES.contains(&&sent.draft.body[..]);
    match sent.signing {
        Signing::Signed => names(sent, event),
        Signing::Altered => panic!("{} took what was altered", sent.source.name),
        Signing::AsIs => assert!(published, "{} took what nobody has signed", sent.source.name),
    }
}

/// What a proof is good for is not what the request says beside it.
fn names(sent: &Sent<'_>, event: &Event) {
    match sent.source.proof {
        Proof::TenantKey => {
            let named = format!("tenant={}", event.tenant.as_deref().unwrap_or_default());
            assert!(event.http.query.split('&').any(|pair| pair == named), "another tenant than that of the key");
        }
        Proof::Sns => {
            let kind = sns::kind(&event.body);
            assert!(kind.is_some_and(|kind| kind != sns::SUBSCRIPTION && kind != sns::UNSUBSCRIPTION), "a handshake");
        }
        _ => {}
    }
}

fn is_key(pair: &str) -> bool {
    let name = percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy();
    ["key", "code"].iter().any(|key| name.eq_ignore_ascii_case(key))
}

/// All of them, each name's values in their order.
fn headers(draft: &Draft, event: &Event) {
    let kept = || draft.headers.iter().filter(|(name, _)| !NOT_KEPT.contains(&name.as_str()));
    assert_eq!(event.http.headers.len(), kept().count(), "headers were added or lost");
    for (name, _) in kept() {
        let sent = kept().filter(|(found, _)| found == name).map(|(_, value)| text(value));
        let found = event.http.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone());
        assert!(sent.eq(found), "the header {name} was changed");
    }
}

/// UTF-8, else Latin-1.
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| bytes.iter().copied().map(char::from).collect())
}

/// What comes from a queue equals what went there, whichever of several it was.
pub(crate) fn wires(event: &Event) {
    let rung = event.body.first().copied().map_or(0, u32::from);
    let event = &Event { rung, ..event.clone() };
    for returned in webhook_queue::fuzzing::round_trips(event) {
        let mut received = returned.event.unwrap_or_else(|error| panic!("{} lost the event: {error}", returned.queue));
        if !returned.keeps_received {
            let seconds = |event: &Event| event.received.duration_since(UNIX_EPOCH).unwrap().as_secs();
            assert_eq!(seconds(&received), seconds(event), "{} changed the time of receipt", returned.queue);
            received.received = event.received;
        }
        assert!(received == *event, "{} changed the event: {received:?}", returned.queue);
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|found| found == part)
}
