//! The requests that every host gets, and what must become of them.

use ring::hmac;

use crate::KEY;
use crate::client::{chunked, request};

/// A request, and the event that it must be on every host.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    chunked: bool,
    pub(crate) source: &'static str,
    pub(crate) event_type: &'static str,
    pub(crate) tenant: &'static str,
    pub(crate) verified: &'static str,
    pub(crate) path: &'static str,
    pub(crate) query: &'static str,
}

impl Case {
    fn new(name: &'static str, target: &'static str) -> Case {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Case {
            name,
            target,
            headers: Vec::new(),
            body: b"x".to_vec(),
            chunked: false,
            source: "shop",
            event_type: "webhook",
            tenant: "",
            verified: "none",
            path,
            query,
        }
    }

    fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Case {
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }

    fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Case {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    fn bytes(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (*name, value.as_slice())).collect()
    }

    /// The request as it is sent.
    pub(crate) fn request(&self) -> Vec<u8> {
        let build = if self.chunked { chunked } else { request };
        build("POST", self.target, &self.bytes(), &self.body)
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let keyed = |name, target| Case { source: "e-conomic", verified: "key", ..Case::new(name, target) };
    vec![
        Case {
            body: Vec::new(),
            ..Case::new("empty body, all in the query", "/webhooks/shop?newnumber=33&oldnumber=33")
        },
        Case::new("every byte", "/webhooks/shop").body("application/octet-stream", every_byte.clone()),
        Case::new("every byte as JSON", "/webhooks/shop").body("application/json", every_byte.clone()),
        Case {
            chunked: true,
            ..Case::new("every byte in chunks", "/webhooks/shop").body("image/png", every_byte.clone())
        },
        Case::new("1 MiB", "/webhooks/shop").body("application/octet-stream", vec![0xfe; 1 << 20]),
        Case::new("1 MiB of text", "/webhooks/shop").body("text/plain", "æ\u{2028}\"\\\n".repeat(1 << 17)),
        Case::new("a form", "/webhooks/shop").body("application/x-www-form-urlencoded", "newnumber=33&name=%C3%A6+%26"),
        Case::new("JSON", "/webhooks/shop")
            .body("application/json; charset=utf-8", " {\"n\": 1.0, \"é\": \"\\u0000\"}\r\n"),
        Case::new("text with a replacement", "/webhooks/shop").body("text/plain", "once lost: \u{fffd}"),
        Case::new("no content type", "/webhooks/shop"),
        Case::new("raw query", "/webhooks/shop?a=%2B&b=+&&c&=&a=2&%61=3&d=%e6&e=[1]&f=%zz&g='{}|~!"),
        Case::new("only a question mark", "/webhooks/shop?&"),
        Case { event_type: "order/paid æ", ..Case::new("encoded path", "/webhooks/shop/order%2Fpaid%20%C3%A6") },
        Case { event_type: "order paid", ..Case::new("type in the query", "/webhooks/shop?type=order+paid") },
        Case { tenant: "123 4", ..Case::new("tenant", "/webhooks/shop?tenant=123%204") },
        Case { tenant: "æ", ..Case::new("tenant in Latin-1", "/webhooks/shop?tenant=%E6") },
        Case { path: "/webhooks/shop/a", event_type: "a", ..Case::new("host prefix", "/api/webhooks/shop/a?b=c") },
        Case { query: "a=%2B&&c", ..keyed("key in the query", "/webhooks/e-conomic?a=%2B&key=k3y-k3y&&c") },
        Case {
            query: "",
            path: "/WebhookForwarder",
            ..keyed("the guide's path", "/api/WebhookForwarder?code=k3y-k3y")
        },
        keyed("key in a header", "/webhooks/e-conomic/a?b").header("x-functions-key", KEY).with_type("a"),
        keyed("key as a token", "/webhooks/e-conomic").header("authorization", format!("Bearer {KEY}")),
        Case { source: "near", verified: "address", ..Case::new("address", "/webhooks/near") }
            .header("x-forwarded-for", "203.0.113.9"),
        Case {
            source: "github",
            event_type: "push",
            verified: "signature",
            ..Case::new("signed bytes", "/webhooks/github")
        }
        .header("x-github-event", "push")
        .header("x-hub-signature-256", signature(&every_byte))
        .body("application/octet-stream", every_byte),
        Case::new("headers twice, in order", "/webhooks/shop")
            .header("x-twice", "one")
            .header("x-between", "a, b;q=\"c\"")
            .header("x-twice", "two"),
        Case::new("UTF-8 in a header", "/webhooks/shop").header("x-name", "smørrebrød"),
        Case::new("Latin-1 in a header", "/webhooks/shop").header("x-name", b"sm\xf8r"),
        Case::new("trace", "/webhooks/shop")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]
}

impl Case {
    fn with_type(self, event_type: &'static str) -> Case {
        Case { event_type, ..self }
    }
}

/// As GitHub signs a body.
fn signature(body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), body);
    let digits: Vec<String> = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={}", digits.concat())
}
