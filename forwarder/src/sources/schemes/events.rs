//! Providers that send CloudEvents, or say in the body what those would.

use std::borrow::Cow::Borrowed;

use crate::sources::scheme::{Handshake, HandshakeAnswer, Place, ProofKind, Reading, Scheme, Token};

pub(super) static FATTURE_IN_CLOUD: Scheme = Scheme {
    name: "fatture-in-cloud",
    methods: "GET, POST",
    proof: ProofKind::Token(Token {
        issuer: "https://api-v2.fattureincloud.it",
        public_key: "-----BEGIN PUBLIC KEY-----\n\
            MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE/RoHIjgY7hfXfY5p/Jy+K/FguMZ4\n\
            3TvZ9t4eN7+kxQ0MJzKtowv4CcYTFqrBm7hMB5ZWKnqLz24D6lQjSL0Ysw==\n\
            -----END PUBLIC KEY-----",
    }),
    handshakes: &[Handshake {
        method: "GET",
        mark: None,
        verify_token: None,
        challenge: &[
            Place::Header(Borrowed("x-fic-verification-challenge")),
            Place::Query("x-fic-verification-challenge"),
        ],
        proven: true,
        answer: HandshakeAnswer::Json("verification"),
    }],
    readings: &[
        Reading {
            id_scope: Place::Nowhere,
            tenant: Place::EncodedHeader("ce-subject"),
            before_tenant: "company:",
            ..BINARY
        },
        Reading {
            id_scope: Place::Nowhere,
            tenant: Place::Json(&["subject"]),
            before_tenant: "company:",
            ..STRUCTURED
        },
    ],
    switches_off: None,
};

pub(super) static CLOUDEVENTS: Scheme = Scheme {
    name: "cloudevents",
    methods: "OPTIONS, POST",
    proof: ProofKind::Nothing,
    handshakes: &[MAY_SEND],
    readings: &[BINARY, STRUCTURED],
    switches_off: None,
};

/// An event of its own schema comes as the item of a list; CloudEvents come as they do from everybody.
pub(super) static EVENT_GRID: Scheme = Scheme {
    name: "event-grid",
    methods: "OPTIONS, POST",
    proof: ProofKind::Nothing,
    handshakes: &[
        Handshake {
            method: "POST",
            mark: Some((Place::Header(Borrowed("aeg-event-type")), "SubscriptionValidation")),
            verify_token: None,
            challenge: &[Place::Json(&["[]", "data", "validationCode"])],
            proven: true,
            answer: HandshakeAnswer::Json("validationResponse"),
        },
        MAY_SEND,
    ],
    readings: &[
        BINARY,
        STRUCTURED,
        Reading {
            id: Place::Json(&["[]", "id"]),
            event_type: Place::Json(&["[]", "eventType"]),
            subject: Place::Json(&["[]", "subject"]),
            time: Place::Json(&["[]", "eventTime"]),
            ..Reading::NOTHING
        },
    ],
    switches_off: None,
};

/// One request tells of several changes, so it has no id and no type of its own.
pub(super) static GRAPH: Scheme = Scheme {
    name: "graph",
    methods: "POST",
    proof: ProofKind::ClientState,
    handshakes: &[Handshake {
        method: "POST",
        mark: None,
        verify_token: None,
        challenge: &[Place::Query("validationToken")],
        proven: false,
        answer: HandshakeAnswer::Text,
    }],
    readings: &[],
    switches_off: None,
};

/// What its headers say is not signed, and its body says it, too. When it asks whether a topic may send it is answered by a
/// request, before this.
pub(super) static SNS: Scheme = Scheme {
    name: "sns",
    methods: "POST",
    proof: ProofKind::Topic,
    handshakes: &[
        about_the_subscription("SubscriptionConfirmation"),
        about_the_subscription("UnsubscribeConfirmation"),
    ],
    readings: &[Reading {
        id: Place::Json(&["MessageId"]),
        event_type: Place::Json(&["Type"]),
        time: Place::Json(&["Timestamp"]),
        ..Reading::NOTHING
    }],
    switches_off: None,
};

const fn about_the_subscription(kind: &'static str) -> Handshake {
    Handshake {
        method: "POST",
        mark: Some((Place::Json(&["Type"]), kind)),
        verify_token: None,
        challenge: &[Place::Json(&["Type"])],
        proven: true,
        answer: HandshakeAnswer::Nothing,
    }
}

/// A CloudEvent whose attributes are headers.
const BINARY: Reading = Reading {
    mark: Place::EncodedHeader("ce-id"),
    id: Place::EncodedHeader("ce-id"),
    id_scope: Place::EncodedHeader("ce-source"),
    event_type: Place::EncodedHeader("ce-type"),
    subject: Place::EncodedHeader("ce-subject"),
    time: Place::EncodedHeader("ce-time"),
    ..Reading::NOTHING
};

/// A CloudEvent whose attributes are in the body. The content type does not always say so, hence the mark.
const STRUCTURED: Reading = Reading {
    mark: Place::Json(&["specversion"]),
    id: Place::Json(&["id"]),
    id_scope: Place::Json(&["source"]),
    event_type: Place::Json(&["type"]),
    subject: Place::Json(&["subject"]),
    time: Place::Json(&["time"]),
    ..Reading::NOTHING
};

/// The abuse protection of the CloudEvents webhook specification.
const MAY_SEND: Handshake = Handshake {
    method: "OPTIONS",
    mark: None,
    verify_token: None,
    challenge: &[Place::Header(Borrowed("webhook-request-origin"))],
    proven: false,
    answer: HandshakeAnswer::AllowedOrigin,
};
