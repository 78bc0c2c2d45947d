//! Providers that sign the body with a secret.

use std::borrow::Cow::Borrowed;
use std::time::Duration;

use crate::sources::scheme::{
    Algorithm, Encoding, Form, Handshake, HandshakeAnswer, Part, Place, ProofKind, Reading, Scheme, SecretForm,
    SignatureHeaders, Signing, SwitchOff, Timestamp,
};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

pub(super) static STANDARD_WEBHOOKS: Scheme = Scheme {
    name: "standard-webhooks",
    methods: "POST",
    proof: ProofKind::Signature(Signing {
        headers: Borrowed(&[
            SignatureHeaders {
                signature: Borrowed("webhook-signature"),
                timestamp: Some(Borrowed("webhook-timestamp")),
                id: Some(Borrowed("webhook-id")),
            },
            SignatureHeaders {
                signature: Borrowed("svix-signature"),
                timestamp: Some(Borrowed("svix-timestamp")),
                id: Some(Borrowed("svix-id")),
            },
        ]),
        separator: Some(' '),
        forms: Borrowed(&[
            Form { prefix: Borrowed("v1,"), algorithm: Algorithm::HmacSha256, encoding: Encoding::Base64 },
            Form { prefix: Borrowed("v1a,"), algorithm: Algorithm::Ed25519, encoding: Encoding::Base64 },
        ]),
        timestamp: Some(Timestamp { item: None, tolerance: FIVE_MINUTES, both_ways: true }),
        signed: Borrowed(&[
            Part::Id,
            Part::Text(Borrowed(".")),
            Part::Timestamp,
            Part::Text(Borrowed(".")),
            Part::Body,
        ]),
        secret: SecretForm::Base64 { prefix: "whsec_" },
    }),
    handshakes: &[],
    readings: &[
        Reading {
            mark: Place::Header(Borrowed("webhook-signature")),
            id: Place::Header(Borrowed("webhook-id")),
            event_type: Place::Json(&["type"]),
            ..Reading::NOTHING
        },
        Reading {
            mark: Place::Header(Borrowed("svix-signature")),
            id: Place::Header(Borrowed("svix-id")),
            event_type: Place::Json(&["type"]),
            ..Reading::NOTHING
        },
    ],
    switches_off: None,
};

/// Its secret begins like that of Standard Webhooks and is not Base64: the whole text is the key.
pub(super) static STRIPE: Scheme = Scheme {
    name: "stripe",
    methods: "POST",
    proof: ProofKind::Signature(Signing {
        headers: Borrowed(&[in_header("stripe-signature")]),
        separator: Some(','),
        forms: Borrowed(&[hex_after("v1=")]),
        timestamp: Some(Timestamp { item: Some("t="), tolerance: FIVE_MINUTES, both_ways: false }),
        signed: Borrowed(&[Part::Timestamp, Part::Text(Borrowed(".")), Part::Body]),
        secret: SecretForm::Text,
    }),
    handshakes: &[],
    readings: &[Reading {
        id: Place::Json(&["id"]),
        event_type: Place::Json(&["type"]),
        tenant: Place::Json(&["account"]),
        ..Reading::NOTHING
    }],
    switches_off: None,
};

pub(super) static GITHUB: Scheme = Scheme {
    name: "github",
    methods: "POST",
    proof: ProofKind::Signature(over_the_body(HUB_SIGNATURE, HEX_AFTER_SHA256)),
    handshakes: &[],
    readings: &[Reading {
        id: Place::Header(Borrowed("x-github-delivery")),
        event_type: Place::Header(Borrowed("x-github-event")),
        ..Reading::NOTHING
    }],
    switches_off: None,
};

/// The id of the event is no id of a delivery: several subscriptions share it. The newer headers have no other.
pub(super) static SHOPIFY: Scheme = Scheme {
    name: "shopify",
    methods: "POST",
    proof: ProofKind::Signature(over_the_body(SHOPIFY_SIGNATURES, BARE_BASE64)),
    handshakes: &[],
    readings: &[
        Reading {
            mark: Place::Header(Borrowed("x-shopify-hmac-sha256")),
            id: Place::Header(Borrowed("x-shopify-webhook-id")),
            event_type: Place::Header(Borrowed("x-shopify-topic")),
            tenant: Place::Header(Borrowed("x-shopify-shop-domain")),
            time: Place::Header(Borrowed("x-shopify-triggered-at")),
            ..Reading::NOTHING
        },
        Reading {
            event_type: Place::Header(Borrowed("shopify-topic")),
            tenant: Place::Header(Borrowed("shopify-shop-domain")),
            time: Place::Header(Borrowed("shopify-triggered-at")),
            ..Reading::NOTHING
        },
    ],
    switches_off: Some(SwitchOff { failures: 8, in_a_row: true }),
};

pub(super) static SLACK: Scheme = Scheme {
    name: "slack",
    methods: "POST",
    proof: ProofKind::Signature(Signing {
        headers: Borrowed(&[SignatureHeaders {
            signature: Borrowed("x-slack-signature"),
            timestamp: Some(Borrowed("x-slack-request-timestamp")),
            id: None,
        }]),
        separator: None,
        forms: Borrowed(&[hex_after("v0=")]),
        timestamp: Some(Timestamp { item: None, tolerance: FIVE_MINUTES, both_ways: true }),
        signed: Borrowed(&[Part::Text(Borrowed("v0:")), Part::Timestamp, Part::Text(Borrowed(":")), Part::Body]),
        secret: SecretForm::Text,
    }),
    handshakes: &[
        Handshake {
            method: "POST",
            mark: Some((Place::Json(&["type"]), "url_verification")),
            verify_token: None,
            challenge: &[Place::Json(&["challenge"])],
            proven: true,
            answer: HandshakeAnswer::Json("challenge"),
        },
        // A look at our certificate.
        Handshake {
            method: "POST",
            mark: Some((Place::Form("ssl_check"), "1")),
            verify_token: None,
            challenge: &[Place::Form("ssl_check")],
            proven: false,
            answer: HandshakeAnswer::Nothing,
        },
    ],
    readings: &[
        Reading { mark: Place::Json(&["event", "type"]), event_type: Place::Json(&["event", "type"]), ..SLACK_READING },
        SLACK_READING,
    ],
    switches_off: None,
};

const SLACK_READING: Reading = Reading {
    id: Place::Json(&["event_id"]),
    event_type: Place::Json(&["type"]),
    tenant: Place::Json(&["team_id"]),
    ..Reading::NOTHING
};

pub(super) static META: Scheme = Scheme {
    name: "meta",
    methods: "GET, POST",
    proof: ProofKind::Signature(over_the_body(HUB_SIGNATURE, HEX_AFTER_SHA256)),
    handshakes: &[Handshake {
        method: "GET",
        mark: Some((Place::Query("hub.mode"), "subscribe")),
        verify_token: Some(Place::Query("hub.verify_token")),
        challenge: &[Place::Query("hub.challenge")],
        proven: false,
        answer: HandshakeAnswer::Text,
    }],
    readings: &[Reading { event_type: Place::Json(&["object"]), ..Reading::NOTHING }],
    switches_off: None,
};

pub(super) static DROPBOX: Scheme = Scheme {
    name: "dropbox",
    methods: "GET, POST",
    proof: ProofKind::Signature(over_the_body(DROPBOX_SIGNATURE, BARE_HEX)),
    handshakes: &[Handshake {
        method: "GET",
        mark: None,
        verify_token: None,
        challenge: &[Place::Query("challenge")],
        proven: false,
        answer: HandshakeAnswer::Text,
    }],
    readings: &[],
    switches_off: None,
};

pub(super) static TWILIO: Scheme = Scheme {
    name: "twilio",
    methods: "POST",
    proof: ProofKind::SignedUrl { signature: "x-twilio-signature", digest: "bodySHA256" },
    handshakes: &[],
    readings: &[Reading { id: Place::Header(Borrowed("i-twilio-idempotency-token")), ..Reading::NOTHING }],
    switches_off: None,
};

const HUB_SIGNATURE: &[SignatureHeaders] = &[in_header("x-hub-signature-256")];
const SHOPIFY_SIGNATURES: &[SignatureHeaders] = &[in_header("x-shopify-hmac-sha256"), in_header("shopify-hmac-sha256")];
const DROPBOX_SIGNATURE: &[SignatureHeaders] = &[in_header("x-dropbox-signature")];
const HEX_AFTER_SHA256: &[Form] = &[hex_after("sha256=")];
const BARE_HEX: &[Form] = &[hex_after("")];
const BARE_BASE64: &[Form] =
    &[Form { prefix: Borrowed(""), algorithm: Algorithm::HmacSha256, encoding: Encoding::Base64 }];

const fn in_header(signature: &'static str) -> SignatureHeaders {
    SignatureHeaders { signature: Borrowed(signature), timestamp: None, id: None }
}

const fn hex_after(prefix: &'static str) -> Form {
    Form { prefix: Borrowed(prefix), algorithm: Algorithm::HmacSha256, encoding: Encoding::Hex }
}

/// A signature of nothing but the body, by the secret as it is written.
const fn over_the_body(headers: &'static [SignatureHeaders], forms: &'static [Form]) -> Signing {
    Signing {
        headers: Borrowed(headers),
        separator: None,
        forms: Borrowed(forms),
        timestamp: None,
        signed: Borrowed(&[Part::Body]),
        secret: SecretForm::Text,
    }
}
