//! The merge fields of a web hook, wherever and however its user has written them.

use serde::de::IgnoredAny;
use webhook_queue::Event;

use crate::providers::{Unreadable, text};

/// A merge field: the names that its value has been given, the most telling first, in lower case and letters only.
#[derive(Clone, Copy)]
pub(super) struct Field(pub(super) &'static [&'static str]);

/// The query and the body of a web hook, and how it should have been set up.
pub(super) struct Fields<'a> {
    event: &'a Event,
    setup: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(event: &'a Event, setup: &'static str) -> Fields<'a> {
        Fields { event, setup }
    }

    /// The value of a field, which may be blank; nothing if none of its names is there.
    pub(super) fn find(&self, field: Field) -> Result<Option<String>, Unreadable> {
        for name in field.0 {
            let mut values = self.pairs().filter(|(found, _)| is_name(found, name)).map(|(_, value)| trimmed(value));
            let Some(value) = values.next() else { continue };
            if values.any(|other| other != value) {
                return Err(self.problem(&format!("`{name}` is there more than once, with different values")));
            }
            return self.unless_merge_field(value).map(Some);
        }
        Ok(None)
    }

    /// The value of a field that is never blank.
    pub(super) fn filled(&self, field: Field) -> Result<String, Unreadable> {
        match self.find(field)? {
            Some(value) if value.is_empty() => Err(self.problem(&format!("`{}` is blank", field.0[0]))),
            Some(value) => Ok(value),
            None => Err(self.missing(field)),
        }
    }

    /// A body of nothing but two values and what is between them. JSON may have a `&` in it, too.
    pub(super) fn two_without_names(&self) -> Result<Option<(String, String)>, Unreadable> {
        let body = &self.event.body;
        let mut values = body.split(|&byte| byte == b'&');
        let (Some(first), Some(second), None) = (values.next(), values.next(), values.next()) else { return Ok(None) };
        let is_json = || serde_json::from_slice::<IgnoredAny>(body).is_ok();
        if body.contains(&b'=') || is_json() {
            return Ok(None);
        }
        Ok(Some((self.unless_merge_field(trimmed(first))?, self.unless_merge_field(trimmed(second))?)))
    }

    pub(super) fn missing(&self, field: Field) -> Unreadable {
        self.problem(&format!("`{}` is neither in its URL nor in its data", field.0[0]))
    }

    pub(super) fn problem(&self, what: &str) -> Unreadable {
        let setup = self.setup;
        Unreadable::new(format!(
            "the web hook of e-conomic cannot be read: {what}; its URL, or else its data, should have `{setup}` in it, \
             and its type should be one with these merge fields"
        ))
    }

    /// What e-conomic does not know as a merge field of the web hook's type, it leaves as it is.
    fn unless_merge_field(&self, value: String) -> Result<String, Unreadable> {
        let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match inner {
            Some(name) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                Err(self.problem("a merge field was not filled in"))
            }
            _ => Ok(value),
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let forms = [self.event.http.query.as_bytes(), &self.event.body[..]];
        forms.into_iter().flat_map(|form| form.split(|&byte| byte == b'&')).filter_map(|pair| {
            let middle = pair.iter().position(|&byte| byte == b'=')?;
            Some((&pair[..middle], &pair[middle + 1..]))
        })
    }
}

/// No name is longer, however it is written.
const MAX_NAME_BYTES: usize = 64;

fn is_name(found: &[u8], name: &str) -> bool {
    if found.len() > MAX_NAME_BYTES {
        return false;
    }
    let found = text::of_form(found);
    let letters = found.trim().chars().filter(|letter| !['_', '-'].contains(letter));
    letters.map(|letter| letter.to_ascii_lowercase()).eq(name.chars())
}

fn trimmed(value: &[u8]) -> String {
    text::of_form(value).trim().to_owned()
}
