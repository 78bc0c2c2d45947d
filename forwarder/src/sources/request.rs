//! Looking a place up in a request.

use http::request::Parts;
use percent_encoding::percent_decode;

use super::json::{Path, Strings};
use super::scheme::{Handshake, Place, Reading};
use crate::query;

/// A request as a scheme sees it.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) parts: &'a Parts,
    /// Empty as long as it has not been read.
    body: &'a [u8],
    /// Of the body.
    strings: Strings,
}

impl<'a> Request<'a> {
    /// Before its body has been read.
    pub(super) fn without_body(parts: &'a Parts) -> Request<'a> {
        Request { parts, body: &[], strings: Strings::default() }
    }

    /// With those strings of the body that these may look up.
    pub(super) fn with_body(
        parts: &'a Parts,
        body: &'a [u8],
        handshakes: &[Handshake],
        readings: &[Reading],
    ) -> Request<'a> {
        let places = handshakes.iter().flat_map(Handshake::places).chain(readings.iter().flat_map(Reading::places));
        let mut paths: Vec<Path> = places
            .filter_map(|place| match place {
                Place::Json(path) => Some(*path),
                _ => None,
            })
            .collect();
        paths.sort_unstable();
        paths.dedup();
        Request { parts, body, strings: Strings::read(body, &paths) }
    }

    /// The first value at a place; none where it is empty.
    pub(super) fn at(&self, place: &Place) -> Option<String> {
        let value = match place {
            Place::Nowhere => None,
            Place::Header(name) => self.header(name).map(query::readable),
            Place::EncodedHeader(name) => {
                self.header(name).map(|value| query::readable(&percent_decode(value).collect::<Vec<u8>>()))
            }
            Place::Query(name) => query::first(self.parts.uri.query().unwrap_or_default(), name),
            Place::Form(name) => std::str::from_utf8(self.body).ok().and_then(|form| query::first(form, name)),
            Place::Json(path) => self.strings.get(path).map(str::to_owned),
        };
        value.filter(|value| !value.is_empty())
    }

    /// The reading that applies.
    pub(super) fn reading<'r>(&self, readings: &'r [Reading]) -> Option<&'r Reading> {
        readings.iter().find(|reading| reading.mark == Place::Nowhere || self.at(&reading.mark).is_some())
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.parts.headers.get(name).map(|value| value.as_bytes())
    }
}
