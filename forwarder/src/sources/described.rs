//! A signature that the source's own variables describe.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderName;

use super::scheme::{
    Algorithm, Encoding, Form, Part, Place, Reading, SecretForm, SignatureHeaders, Signing, Timestamp,
};
use super::settings::Settings;

/// Of a signature that the source's variables describe.
const TOLERANCE: Duration = Duration::from_secs(300);
const FORMATS: [(&str, Algorithm, Encoding); 6] = [
    ("{sha256-hex}", Algorithm::HmacSha256, Encoding::HexOfAnyCase),
    ("{sha256-base64}", Algorithm::HmacSha256, Encoding::Base64),
    ("{sha1-hex}", Algorithm::HmacSha1, Encoding::HexOfAnyCase),
    ("{sha1-base64}", Algorithm::HmacSha1, Encoding::Base64),
    ("{sha512-hex}", Algorithm::HmacSha512, Encoding::HexOfAnyCase),
    ("{sha512-base64}", Algorithm::HmacSha512, Encoding::Base64),
];

impl<F: Fn(&str) -> String> Settings<'_, F> {
    /// The signature.
    pub(super) fn signing(&mut self) -> Option<Signing> {
        let signature = self.needed("SIGNATURE_HEADER").and_then(|_| self.header("SIGNATURE_HEADER"));
        let timestamp = self.header("TIMESTAMP_HEADER");
        let id = self.header("ID_HEADER");
        let form = self.format();
        let signed = self.signed_content()?;
        let signs_time = signed.contains(&Part::Timestamp);
        if signs_time && timestamp.is_none() {
            self.problem("TIMESTAMP_HEADER", "is needed, since the signed content has a {timestamp}");
        }
        if !signs_time && timestamp.is_some() {
            self.problem("TIMESTAMP_HEADER", "has no effect, since the signed content has no {timestamp}; remove it");
        }
        let signs_id = signed.contains(&Part::Id);
        if signs_id && id.is_none() {
            self.problem("ID_HEADER", "is needed, since the signed content has an {id}");
        }
        Some(Signing {
            headers: Cow::Owned(vec![SignatureHeaders {
                signature: signature?,
                timestamp,
                id: id.filter(|_| signs_id),
            }]),
            separator: None,
            forms: Cow::Owned(vec![form?]),
            timestamp: signs_time.then_some(Timestamp { item: None, tolerance: TOLERANCE, both_ways: true }),
            signed: Cow::Owned(signed),
            secret: SecretForm::Text,
        })
    }

    /// Where the id and the type are.
    pub(super) fn reading(&mut self) -> Reading {
        let place = |name: Option<Cow<'static, str>>| name.map_or(Place::Nowhere, Place::Header);
        Reading {
            id: place(self.header("ID_HEADER")),
            event_type: place(self.header("TYPE_HEADER")),
            ..Reading::NOTHING
        }
    }

    fn header(&mut self, name: &str) -> Option<Cow<'static, str>> {
        let text = self.optional(name)?;
        let header = text.trim().parse::<HeaderName>().ok();
        if header.is_none() {
            self.problem(name, format!("'{}' is not the name of a header", text.trim()));
        }
        header.map(|header| Cow::Owned(header.as_str().to_owned()))
    }

    fn format(&mut self) -> Option<Form> {
        let text = self.optional("SIGNATURE_FORMAT").unwrap_or_else(|| FORMATS[0].0.to_owned());
        let text = text.trim();
        let found = FORMATS.iter().find_map(|(name, algorithm, encoding)| {
            let prefix = Cow::Owned(text.strip_suffix(name)?.to_owned());
            Some(Form { prefix, algorithm: *algorithm, encoding: *encoding })
        });
        if found.is_none() {
            let known: Vec<&str> = FORMATS.iter().map(|(name, ..)| *name).collect();
            self.problem("SIGNATURE_FORMAT", format!("does not end with one of {}", known.join(", ")));
        }
        found
    }

    fn signed_content(&mut self) -> Option<Vec<Part>> {
        let text = self.optional("SIGNED_CONTENT").unwrap_or_else(|| "{body}".to_owned());
        let parts = parts(&text).filter(|parts| parts.contains(&Part::Body));
        if parts.is_none() {
            self.problem(
                "SIGNED_CONTENT",
                "is not text around {id}, {timestamp} and {body}, the last of which it must have",
            );
        }
        parts
    }
}

fn parts(mut text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some((before, rest)) = text.split_once('{') {
        if !before.is_empty() {
            parts.push(Part::Text(Cow::Owned(before.to_owned())));
        }
        let (name, rest) = rest.split_once('}')?;
        parts.push(match name {
            "id" => Part::Id,
            "timestamp" => Part::Timestamp,
            "body" => Part::Body,
            _ => return None,
        });
        text = rest;
    }
    if !text.is_empty() {
        parts.push(Part::Text(Cow::Owned(text.to_owned())));
    }
    Some(parts)
}
