//! The sources: who may send webhooks, and how each request is verified and read.
//!
//! Closed by default: a source exists only if it is configured, and is configured only if it is protected.
//! The schemes are data: [`schemes`] has an entry for each, in the words of [`scheme`]. The other files are the engine that
//! reads the entries, one per kind of proof and one each for handshakes and facts.

mod config;
mod described;
mod settings;

mod scheme;
mod schemes;

mod access_key;
mod addresses;
mod proof;
mod signature;
mod signed_url;
#[cfg(not(feature = "sns"))]
#[path = "no_sns.rs"]
mod sns;
#[cfg(feature = "sns")]
mod sns;
mod tenant_key;
mod token;

mod facts;
#[cfg(feature = "fuzzing")]
mod fuzzing;
mod handshake;
mod json;
mod merge_fields;
mod request;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use http_body_util::Full;
use secrecy::SecretString;
use tokio::time::Instant;
use webhook_queue::Verified;

use crate::answer::Refusal;
use crate::query;
use crate::route;

use proof::Proof;
use request::Request;
use scheme::{Handshake, Reading, Scheme};

pub use addresses::AddressList;

pub(crate) use access_key::{AccessKeys, KEY_HEADERS, is_key_parameter};
pub(crate) use facts::{Facts, type_in_url};
pub(crate) use proof::Claim;
pub(crate) use scheme::SwitchOff;
pub(crate) use tenant_key::TenantKeys;

const OTHER_TENANT: Refusal = Refusal::NotProven("the event is of another tenant than the access key");

/// Every configured source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    all: Vec<Source>,
}

/// One configured origin of webhooks.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    scheme: &'static Scheme,
    proof: Proof,
    verify_token: Option<SecretString>,
    /// The scheme's own where the source's variables name none.
    readings: Cow<'static, [Reading]>,
    addresses: Option<AddressCheck>,
    keys: AccessKeys,
    tenant_keys: Option<TenantKeys>,
    path: Option<String>,
}

/// `SOURCE_<NAME>_ALLOW_IPS` and its mode.
#[derive(Clone, Debug)]
struct AddressCheck {
    allowed: AddressList,
    /// Refuse strangers, or only log them.
    enforce: bool,
}

impl Sources {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.all.iter()
    }

    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.all.iter().map(|source| &*source.name)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Source> {
        self.all.iter().find(|source| source.name == name)
    }

    pub(crate) fn at_path(&self, path: &str) -> Option<&Source> {
        self.all.iter().find(|source| source.path.as_deref() == Some(path))
    }
}

/// What the proofs that every source can have say about the caller.
#[derive(Debug)]
pub(crate) struct Caller {
    verified: Verified,
    /// The only one for whom the caller may speak.
    tenant: Option<String>,
}

/// What a body has made of a claim.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A handshake: this is the answer, and nothing is queued.
    Handshake(Response<Full<Bytes>>),
    /// An event, with the strongest proof of its origin.
    Event(Facts, Verified),
}

impl Source {
    /// The methods to send in `Allow`.
    pub(crate) fn methods(&self) -> &'static str {
        self.scheme.methods
    }

    /// When its provider stops sending.
    pub(crate) fn switches_off(&self) -> Option<SwitchOff> {
        self.scheme.switches_off
    }

    /// Checks the proofs that every source can have, and says which was the strongest.
    pub(crate) fn verify_caller(&self, request: &Parts, client: Option<IpAddr>) -> Result<Caller, Refusal> {
        let by_address = self.verify_address(client)?;
        if self.keys.is_empty() && self.tenant_keys.is_none() {
            return Ok(Caller { verified: by_address, tenant: None });
        }
        if self.keys.presented_in(request) {
            return Ok(Caller { verified: Verified::Key, tenant: None });
        }
        let tenant = self.tenant_keys.as_ref().ok_or(Refusal::KeyMissingOrWrong)?.proven_in(request)?;
        Ok(Caller { verified: Verified::Key, tenant: Some(tenant) })
    }

    /// Answers a handshake that has no body.
    pub(crate) fn greet(&self, parts: &Parts, now: SystemTime) -> Result<Option<Response<Full<Bytes>>>, Refusal> {
        let request = Request::without_body(parts);
        if let Some(answer) = self.greeting(&request, |handshake| !handshake.needs_body() && !handshake.proven)? {
            return Ok(Some(answer));
        }
        let answer = self.greeting(&request, |handshake| !handshake.needs_body() && handshake.proven)?;
        if answer.is_some() {
            self.proof.claim(parts, now)?;
        }
        Ok(answer)
    }

    /// What the headers claim about the origin; an error where no body could make it good.
    pub(crate) fn claim(&self, parts: &Parts, now: SystemTime) -> Result<Claim, Refusal> {
        if parts.method != Method::POST {
            self.check_event_by_get(parts)?;
        }
        let may_be_unproven =
            self.scheme.handshakes.iter().any(|handshake| handshake.needs_body() && !handshake.proven);
        match self.proof.claim(parts, now) {
            Err(refusal) if may_be_unproven => Ok(Claim::Refused(refusal)),
            claim => claim,
        }
    }

    /// Settles a claim that takes a question to the provider's own servers.
    pub(crate) async fn ask(&self, claim: Claim, body: &[u8], deadline: Instant) -> Result<Claim, Refusal> {
        match (&self.proof, claim) {
            (Proof::Topic(check), Claim::Topic) => {
                check.verify(body, deadline).await?;
                Ok(Claim::Proven(Verified::Signature))
            }
            (_, claim) => Ok(claim),
        }
    }

    /// Settles the claim, now that the body is here, and reads what it is that the provider says.
    pub(crate) fn take(
        &self,
        claim: Claim,
        caller: &Caller,
        parts: &Parts,
        type_in_path: Option<&str>,
        body: &[u8],
    ) -> Result<Taken, Refusal> {
        let request = Request::with_body(parts, body, self.scheme.handshakes, &self.readings);
        if matches!(claim, Claim::Refused(_))
            && let Some(answer) = self.greeting(&request, |handshake| handshake.needs_body() && !handshake.proven)?
        {
            return Ok(Taken::Handshake(answer));
        }
        let by_provider = self.proof.verify(claim, &request, &self.readings, &self.behind(parts), body)?;
        if let Some(answer) = self.greeting(&request, |handshake| handshake.needs_body() && handshake.proven)? {
            return Ok(Taken::Handshake(answer));
        }
        let facts = facts::read(&request, &self.readings, type_in_path);
        if caller.tenant.is_some() && facts.tenant != caller.tenant {
            return Err(OTHER_TENANT);
        }
        Ok(Taken::Event(facts, caller.verified.max(by_provider)))
    }

    fn greeting(
        &self,
        request: &Request<'_>,
        which: impl Fn(&Handshake) -> bool,
    ) -> Result<Option<Response<Full<Bytes>>>, Refusal> {
        let handshakes = self.scheme.handshakes.iter().filter(|handshake| which(handshake));
        handshake::answer(handshakes, request, self.verify_token.as_ref())
    }

    /// A request without a body is an event where the scheme has such, and where its query says more than a key. Merge
    /// fields that nobody has filled in say that a mail program looks where the URL leads; one number is enough, whatever
    /// else was not filled in.
    fn check_event_by_get(&self, parts: &Parts) -> Result<(), Refusal> {
        if !self.scheme.takes_events_by_get() {
            return Err(Refusal::Unreadable("this is no handshake that the scheme knows, and webhooks come by POST"));
        }
        let pairs = query::pairs(parts.uri.query().unwrap_or_default());
        let said: Vec<_> = pairs.filter(|(pair, name, _)| !pair.is_empty() && !is_key_parameter(name)).collect();
        let is_unfilled = |(_, name, value): &(&str, Cow<'_, str>, &str)| {
            merge_fields::is_one(name) || merge_fields::is_one(&query::decoded(value))
        };
        let is_filled =
            |pair: &(&str, Cow<'_, str>, &str)| pair.1 != "tenant" && pair.1 != "type" && !is_unfilled(pair);
        if said.is_empty() {
            return Err(Refusal::Unreadable("a webhook that comes by GET says what happened in its query"));
        }
        if said.iter().any(is_unfilled) && !said.iter().any(is_filled) {
            return Err(Refusal::Unreadable("the query has merge fields and no numbers: nobody has filled them in"));
        }
        Ok(())
    }

    /// What stands behind the source's own address in that of the request.
    fn behind(&self, parts: &Parts) -> String {
        let path = route::without_host_prefix(parts.uri.path());
        let own = path.strip_prefix(route::WEBHOOKS).and_then(|path| path.strip_prefix(self.name.as_str()));
        let query = parts.uri.query().map(|query| format!("?{query}"));
        format!("{}{}", own.unwrap_or_default(), query.unwrap_or_default())
    }

    fn verify_address(&self, client: Option<IpAddr>) -> Result<Verified, Refusal> {
        let Some(check) = &self.addresses else {
            return Ok(Verified::None);
        };
        if client.is_some_and(|client| check.allowed.contains(client)) {
            return Ok(Verified::Address);
        }
        let client_address = client.map(tracing::field::display);
        if check.enforce {
            tracing::debug!(source.name = self.name, client.address = client_address, "address not on the list");
            return Err(Refusal::AddressNotAllowed);
        }
        tracing::warn!(
            source.name = self.name,
            client.address = client_address,
            "address not on the list; `enforce` would have refused this webhook"
        );
        Ok(Verified::None)
    }

    /// The access key to give to a tenant, where each has its own.
    #[cfg(feature = "standalone")]
    pub(crate) fn key_of(&self, tenant: &str) -> Option<String> {
        self.tenant_keys.as_ref()?.key_of(tenant)
    }

    /// What the query of its URL must hold so that a webhook of this type says what it is about; `None` where it could not.
    #[cfg(feature = "standalone")]
    pub(crate) fn merge_fields(&self, event_type: Option<&str>) -> Option<&'static str> {
        if self.scheme.name == schemes::E_CONOMIC.name { merge_fields::of(event_type?) } else { Some("") }
    }

    /// The name of its scheme.
    pub(crate) fn scheme(&self) -> &'static str {
        self.scheme.name
    }

    /// How it is protected, in words for the start-up log.
    pub(crate) fn protection(&self) -> String {
        let mut proofs = Vec::new();
        match self.proof {
            Proof::Nothing => {}
            Proof::Signature(_) | Proof::SignedUrl { .. } => proofs.push("signature"),
            Proof::Token(_) => proofs.push("signed token"),
            Proof::Topic(_) => proofs.push("signature"),
            Proof::ClientState(_) => proofs.push("token in the body"),
        }
        match (self.keys.is_empty(), &self.tenant_keys) {
            (true, None) => {}
            (false, None) => proofs.push("access key"),
            (true, Some(_)) => proofs.push("access key of the tenant"),
            (false, Some(_)) => proofs.push("access key, of the tenant or of all"),
        }
        match &self.addresses {
            Some(check) if check.enforce => proofs.push("address list"),
            Some(_) => proofs.push("address list (warns only)"),
            None => {}
        }
        if proofs.is_empty() { "open to everybody".to_owned() } else { proofs.join(" and ") }
    }
}
