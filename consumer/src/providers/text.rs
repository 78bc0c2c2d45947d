//! Bytes of a request as text.

use percent_encoding::percent_decode;

/// A value of a query or a form. What is no escape stays as it is.
pub(super) fn of_form(bytes: &[u8]) -> String {
    let spaced: Vec<u8> = bytes.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    unescaped(&spaced)
}

/// Percent-decoded bytes: UTF-8, else Latin-1, in which every byte is a character.
pub(super) fn unescaped(bytes: &[u8]) -> String {
    String::from_utf8(percent_decode(bytes).collect())
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_becomes_text() {
        for (bytes, text) in [
            (&b"33"[..], "33"),
            (b"S%C3%B8ren+%26%20co%2B", "Søren & co+"),
            (b"S%F8ren", "Søren"),
            (b"S\xf8ren", "Søren"),
            ("Søren".as_bytes(), "Søren"),
            (b"50%", "50%"),
            (b"%zz%4", "%zz%4"),
        ] {
            assert_eq!(of_form(bytes), text);
        }
        assert_eq!(unescaped(b"a+b%20c"), "a+b c");
    }
}
