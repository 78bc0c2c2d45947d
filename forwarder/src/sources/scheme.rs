//! The vocabulary in which a scheme is written down. The schemes themselves are in [`super::schemes`].

use std::borrow::Cow;
use std::time::Duration;

/// Text of the table, or of a source's own variables.
pub(super) type Text = Cow<'static, str>;

/// How a source's requests are verified and read.
#[derive(Debug)]
pub(super) struct Scheme {
    /// As in `SOURCE_<NAME>_SCHEME`.
    pub(super) name: &'static str,
    /// For `Allow`. `GET` without a handshake is a webhook whose event is in the query.
    pub(super) methods: &'static str,
    pub(super) proof: ProofKind,
    pub(super) handshakes: &'static [Handshake],
    /// The first whose mark is in the request is the one that counts, and none is mixed with another.
    pub(super) readings: &'static [Reading],
    /// As far as it is known.
    pub(super) switches_off: Option<SwitchOff>,
}

/// When a provider stops sending, until somebody asks it to go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SwitchOff {
    /// After so many failed requests within a day; each attempt is one.
    pub(crate) failures: u32,
    /// Only if no request has succeeded in between.
    pub(crate) in_a_row: bool,
}

/// What the provider itself proves, beside the access keys and addresses that every source can have.
#[derive(Debug)]
pub(super) enum ProofKind {
    Nothing,
    /// A signature over the body, in a header.
    Signature(Signing),
    /// The same, as the source's own variables describe it.
    Configured,
    /// A signature over the public URL and the fields of a form, in this header.
    SignedUrl {
        signature: &'static str,
        /// The query parameter that holds the digest of a body that is no form.
        digest: &'static str,
    },
    /// A JSON Web Token as Bearer, which covers id and subject but not the body.
    Token(Token),
    /// A signature among the fields of the body, by a certificate that they name. It proves whom the message is from only
    /// together with the topic that the source expects.
    Topic,
    /// The verify token in the body, as the `clientState` of every notification.
    ClientState,
}

/// How a signature is made and where it is shown.
#[derive(Clone, Debug)]
pub(super) struct Signing {
    /// The first whose signature is in the request counts, and none is mixed with another.
    pub(super) headers: Cow<'static, [SignatureHeaders]>,
    /// What parts several signatures in one header.
    pub(super) separator: Option<char>,
    pub(super) forms: Cow<'static, [Form]>,
    pub(super) timestamp: Option<Timestamp>,
    /// What is signed, in order.
    pub(super) signed: Cow<'static, [Part]>,
    pub(super) secret: SecretForm,
}

/// The headers that make one signature.
#[derive(Clone, Debug)]
pub(super) struct SignatureHeaders {
    pub(super) signature: Text,
    pub(super) timestamp: Option<Text>,
    pub(super) id: Option<Text>,
}

/// What one signature looks like in its header. Anything else there is passed over.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) prefix: Text,
    pub(super) algorithm: Algorithm,
    pub(super) encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    HmacSha1,
    HmacSha256,
    HmacSha512,
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// In small letters only, so that nothing of a signature can be changed.
    Hex,
    HexOfAnyCase,
    Base64,
}

/// The Unix time, in seconds, that a signature covers.
#[derive(Clone, Debug)]
pub(super) struct Timestamp {
    /// What stands before it among the signatures, where it has no header of its own.
    pub(super) item: Option<&'static str>,
    pub(super) tolerance: Duration,
    /// Whether one from the future is held to the tolerance, too.
    pub(super) both_ways: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Text),
    Id,
    Timestamp,
    Body,
}

/// How `SOURCE_<NAME>_SIGNING_SECRET` becomes a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum SecretForm {
    /// The text is the key, whatever it begins with.
    Text,
    /// Base64, after this prefix if it is there, padded or not.
    Base64 { prefix: &'static str },
}

/// The claims that an ES256 token must make.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) issuer: &'static str,
    /// The provider's published key, as PEM.
    pub(super) public_key: &'static str,
}

/// A question of the provider that is answered and not queued.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) method: &'static str,
    /// It is one where this place holds this text.
    pub(super) mark: Option<(Place, &'static str)>,
    /// Must hold the source's verify token.
    pub(super) verify_token: Option<Place>,
    /// It is one where one of these places holds anything, which is the answer.
    pub(super) challenge: &'static [Place],
    /// Whether the provider proves itself when it asks.
    pub(super) proven: bool,
    pub(super) answer: HandshakeAnswer,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum HandshakeAnswer {
    Text,
    /// A JSON object with the challenge under this name.
    Json(&'static str),
    /// The permission of the CloudEvents webhook specification.
    AllowedOrigin,
    /// Only the status.
    Nothing,
}

/// Where one form of request says what happened.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// Must be in the request. [`Place::Nowhere`]: need not.
    pub(super) mark: Place,
    pub(super) id: Place,
    /// What the id is unique together with, where alone it is not.
    pub(super) id_scope: Place,
    pub(super) event_type: Place,
    pub(super) subject: Place,
    pub(super) tenant: Place,
    /// What stands before the tenant at its place.
    pub(super) before_tenant: &'static str,
    /// RFC 3339.
    pub(super) time: Place,
}

/// Where a request may hold a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    Header(Text),
    /// Percent-encoded, as CloudEvents has its attributes in headers.
    EncodedHeader(&'static str),
    Query(&'static str),
    /// A field of a body that is a form.
    Form(&'static str),
    /// Names from the outermost object inwards; `[]` is the one item of a list of one.
    Json(&'static [&'static str]),
}

impl Signing {
    /// Whether the provider may sign with a private key.
    pub(super) fn takes_public_keys(&self) -> bool {
        self.forms.iter().any(|form| form.algorithm == Algorithm::Ed25519)
    }
}

impl Reading {
    /// Reads nothing: the type and the tenant are the URL's.
    pub(super) const NOTHING: Reading = Reading {
        mark: Place::Nowhere,
        id: Place::Nowhere,
        id_scope: Place::Nowhere,
        event_type: Place::Nowhere,
        subject: Place::Nowhere,
        tenant: Place::Nowhere,
        before_tenant: "",
        time: Place::Nowhere,
    };

    pub(super) fn places(&self) -> [&Place; 7] {
        [&self.mark, &self.id, &self.id_scope, &self.event_type, &self.subject, &self.tenant, &self.time]
    }
}

impl Handshake {
    /// Every place that is looked at.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        let mark = self.mark.as_ref().map(|(place, _)| place);
        mark.into_iter().chain(&self.verify_token).chain(self.challenge)
    }

    /// Whether the body must have been read to tell.
    pub(super) fn needs_body(&self) -> bool {
        self.places().any(|place| matches!(place, Place::Form(_) | Place::Json(_)))
    }
}

impl Scheme {
    /// Whether a request without a body and with nothing but its query may be an event.
    pub(super) fn takes_events_by_get(&self) -> bool {
        self.methods.contains("GET") && !self.handshakes.iter().any(|handshake| handshake.method == "GET")
    }
}
