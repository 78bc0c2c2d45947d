//! The sources: who may send webhooks, and how each request is verified and read.
//!
//! Closed by default: a source exists only if it is configured, and is configured only if it is protected.
//! One file per kind of proof and one per scheme; a scheme answers which methods it takes and what it reads.

mod access_key;
mod addresses;
mod config;
mod plain;

use std::net::IpAddr;

use http::request::Parts;
use webhook_queue::Verified;

use crate::answer::Refusal;

pub use addresses::AddressList;

pub(crate) use access_key::{AccessKeys, KEY_HEADERS, is_key_parameter};
pub(crate) use plain::Facts;

/// Every configured source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    all: Vec<Source>,
}

/// One configured origin of webhooks.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    scheme: Scheme,
    addresses: Option<AddressCheck>,
    keys: AccessKeys,
    path: Option<String>,
}

/// How a source's requests are verified and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Plain,
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

    pub(crate) fn named(&self, name: &str) -> Option<&Source> {
        self.all.iter().find(|source| source.name == name)
    }

    pub(crate) fn at_path(&self, path: &str) -> Option<&Source> {
        self.all.iter().find(|source| source.path.as_deref() == Some(path))
    }
}

impl Source {
    /// The methods to send in `Allow`.
    pub(crate) fn methods(&self) -> &'static str {
        match self.scheme {
            Scheme::Plain => plain::METHODS,
        }
    }

    /// Checks every proof that needs no body, and says which was the strongest.
    pub(crate) fn verify(&self, request: &Parts, client: Option<IpAddr>) -> Result<Verified, Refusal> {
        let by_address = self.verify_address(client)?;
        if self.keys.is_empty() {
            return Ok(by_address);
        }
        if !self.keys.presented_in(request) {
            return Err(Refusal::KeyMissingOrWrong);
        }
        Ok(Verified::Key)
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

    /// What the request says about its event besides the body.
    pub(crate) fn read(&self, type_in_path: Option<&str>, query: &str) -> Facts {
        match self.scheme {
            Scheme::Plain => plain::read(type_in_path, query),
        }
    }

    /// How it is protected, in words for the start-up log.
    pub(crate) fn protection(&self) -> String {
        let mut proofs = Vec::new();
        if !self.keys.is_empty() {
            proofs.push("access key");
        }
        match &self.addresses {
            Some(check) if check.enforce => proofs.push("address list"),
            Some(_) => proofs.push("address list (warns only)"),
            None => {}
        }
        if proofs.is_empty() { "open to everybody".to_owned() } else { proofs.join(" and ") }
    }
}
