//! What the provider itself proves: first what the headers claim, then what the body says to it.

use std::borrow::Cow;
use std::time::SystemTime;

use http::request::Parts;
use secrecy::SecretString;
use serde::Deserialize;
use webhook_queue::Verified;

use super::handshake::same;
use super::request::Request;
use super::scheme::Reading;
use super::signature::{self, SignatureCheck};
use super::signed_url::SignedUrlCheck;
use super::sns::TopicCheck;
use super::token::{self, TokenCheck};
use crate::answer::Refusal;

const NO_CLIENT_STATE: Refusal = Refusal::NotProven("the verify token is not the clientState of every notification");

/// The proof that a source asks of its provider.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    Nothing,
    Signature(SignatureCheck),
    SignedUrl { header: &'static str, check: SignedUrlCheck },
    Token(TokenCheck),
    Topic(TopicCheck),
    ClientState(SecretString),
}

/// What a request's headers have claimed and its body must bear out.
#[derive(Debug)]
pub(crate) enum Claim {
    Nothing,
    Signature(signature::Claim),
    SignedUrl(Vec<u8>),
    Token(token::Claims),
    /// Only its servers can tell.
    Topic,
    /// They have told.
    Proven(Verified),
    ClientState,
    /// None that could hold. Only a handshake can be behind it.
    Refused(Refusal),
}

impl Proof {
    /// Reads the claim, and refuses one that no body could make good.
    pub(super) fn claim(&self, parts: &Parts, now: SystemTime) -> Result<Claim, Refusal> {
        Ok(match self {
            Proof::Nothing => Claim::Nothing,
            Proof::Signature(check) => Claim::Signature(check.claim(&parts.headers, now)?),
            Proof::SignedUrl { header, .. } => Claim::SignedUrl(signature::only(&parts.headers, header)?.to_vec()),
            Proof::Token(check) => Claim::Token(check.claim(&parts.headers, now)?),
            Proof::Topic(check) => check.claim(&parts.headers).map(|()| Claim::Topic)?,
            Proof::ClientState(_) => Claim::ClientState,
        })
    }

    /// Checks a claim against the body, and says how much it proves.
    pub(super) fn verify(
        &self,
        claim: Claim,
        request: &Request<'_>,
        readings: &[Reading],
        behind_source: &str,
        body: &[u8],
    ) -> Result<Verified, Refusal> {
        match (self, claim) {
            (Proof::Signature(check), Claim::Signature(claim)) => {
                check.verify(&claim, body)?;
                Ok(Verified::Signature)
            }
            (Proof::SignedUrl { check, .. }, Claim::SignedUrl(shown)) => {
                check.verify(&shown, behind_source, body)?;
                Ok(Verified::Signature)
            }
            (Proof::Token(_), Claim::Token(claims)) => {
                let reading = request.reading(readings).unwrap_or(&Reading::NOTHING);
                claims.cover(request.at(&reading.id).as_deref(), request.at(&reading.subject).as_deref())?;
                Ok(Verified::Token)
            }
            (Proof::Topic(_), Claim::Proven(verified)) => Ok(verified),
            (Proof::ClientState(token), Claim::ClientState) if holds_client_state(body, token) => Ok(Verified::Key),
            (_, Claim::Refused(refusal)) => Err(refusal),
            (Proof::Nothing, Claim::Nothing) => Ok(Verified::None),
            _ => Err(NO_CLIENT_STATE),
        }
    }
}

/// A request of Microsoft Graph: one or more changes, each with the token that was given to it at the subscription.
#[derive(Deserialize)]
struct Notifications<'a> {
    #[serde(borrow)]
    value: Vec<Notification<'a>>,
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow, rename = "clientState")]
    client_state: Option<Cow<'a, str>>,
}

/// Whether there is a notification, and every one holds the token.
fn holds_client_state(body: &[u8], token: &SecretString) -> bool {
    let Ok(notifications) = serde_json::from_slice::<Notifications<'_>>(body) else { return false };
    let mut states = notifications.value.iter().map(|notification| notification.client_state.as_deref());
    !notifications.value.is_empty() && states.all(|state| state.is_some_and(|shown| same(token, shown)))
}
