//! Reading a query without changing it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The pairs of a query: each as received, its name decoded, its value as received.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, Cow<'_, str>, &str)> {
    query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (pair, percent_decode_str(name).decode_utf8_lossy(), value)
    })
}

/// The value of the first pair with this name, decoded as a form is; none where it is empty.
pub(crate) fn first(query: &str, name: &str) -> Option<String> {
    let (_, _, value) = pairs(query).find(|(_, found, _)| found == name)?;
    Some(decoded(&value.replace('+', " "))).filter(|value| !value.is_empty())
}

/// The value of the one pair with this name: of two, nobody knows which was meant.
pub(crate) fn only(query: &str, name: &str) -> Option<String> {
    let is_alone = pairs(query).filter(|(_, found, _)| found == name).count() == 1;
    if is_alone { first(query, name) } else { None }
}

/// Percent-decoded text: UTF-8, else Latin-1.
pub(crate) fn decoded(text: &str) -> String {
    readable(&percent_decode_str(text).collect::<Vec<u8>>())
}

/// Bytes as text: UTF-8, else Latin-1, in which every byte is a character.
pub(crate) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_as_forms_are() {
        assert_eq!(first("a=1&type=order+paid%2Fnow", "type").as_deref(), Some("order paid/now"));
        assert_eq!(first("t%79pe=x", "type").as_deref(), Some("x"));
        assert_eq!(first("type=&type=x", "type"), None);
        assert_eq!(first("tenant=%E6", "tenant").as_deref(), Some("æ"));
        assert_eq!((only("a=1&b=2", "a").as_deref(), only("a=1&a=2", "a"), only("a=", "a")), (Some("1"), None, None));
    }
}
