//! Secrets that are found again wherever they turn up, and however they are written there.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

/// Every secret of one test.
#[derive(Default)]
pub(crate) struct Canaries(Vec<(String, String)>);

impl Canaries {
    /// A new secret. It says what it is for, so that one that is found is told by its name.
    pub(crate) fn of(&mut self, name: &str) -> String {
        let mut random = [0; 8];
        SystemRandom::new().fill(&mut random).unwrap();
        let secret = format!("c4n4ry{name}{}", hex(&random));
        assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{secret} means something in a URL");
        self.0.push((name.to_owned(), secret.clone()));
        secret
    }

    /// One that was made elsewhere.
    pub(crate) fn add(&mut self, name: &str, secret: &str) {
        self.0.push((name.to_owned(), secret.to_owned()));
    }

    /// None of them is in this text, in no spelling.
    pub(crate) fn assert_absent(&self, place: &str, text: &str) {
        let lower = text.to_ascii_lowercase();
        for (name, secret) in &self.0 {
            for (how, spelling) in spellings(secret.as_bytes()) {
                let found = if how == "hex" { lower.find(&spelling) } else { text.find(&spelling) };
                assert!(found.is_none(), "{name}, {how}, in {place}: {}", around(text, found.unwrap_or_default()));
            }
        }
    }
}

/// What is left of the line in which something was found.
fn around(text: &str, index: usize) -> &str {
    let start = text[..index].rfind('\n').map_or(0, |start| start + 1);
    text[start..].lines().next().unwrap_or_default()
}

fn spellings(secret: &[u8]) -> Vec<(&'static str, String)> {
    let each = |write: fn(&u8) -> String, between: &str| secret.iter().map(write).collect::<Vec<_>>().join(between);
    let mut spellings = vec![
        ("as it is", String::from_utf8_lossy(secret).into_owned()),
        ("percent-encoded", each(|byte| format!("%{byte:02X}"), "")),
        ("hex", hex(secret)),
        ("as a list of numbers", each(u8::to_string, ", ")),
        ("as a list of numbers", each(u8::to_string, ",")),
    ];
    for before in 0..3 {
        let encoded = STANDARD_NO_PAD.encode([&vec![0; before][..], secret].concat());
        // The first and the last characters are also of what is beside it.
        let inner = &encoded[(before * 8).div_ceil(6)..(before + secret.len()) * 8 / 6];
        spellings.push(("Base64", inner.to_owned()));
    }
    spellings
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_secret_is_found_in_every_spelling() {
    let mut canaries = Canaries::default();
    let secret = canaries.of("Test");
    let found = |text: &str| std::panic::catch_unwind(|| canaries.assert_absent("a text", text)).is_err();
    for start in ["", "a", "ab", "abc"] {
        let text = format!("{start}{secret}:");
        assert!(found(&STANDARD.encode(&text)) && found(&format!("{:?}", text.as_bytes())) && found(&text), "{text}");
        assert!(found(&hex(text.as_bytes()).to_ascii_uppercase()), "{text}");
    }
    assert!(!found(&secret[1..]));
}
