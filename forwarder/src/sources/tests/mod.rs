//! The providers' published examples, and that nothing about them can be changed.

mod settings;
mod vectors;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use proptest::prelude::*;
use ring::hmac;
use webhook_queue::Env;

use super::scheme::ProofKind;
use super::signature::{LENIENT, SignatureCheck};
use super::*;
use vectors::*;

/// A request that was signed, and when.
#[derive(Clone)]
struct Signed {
    scheme: &'static str,
    settings: &'static [(&'static str, &'static str)],
    /// Each of them is part of the proof.
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    at: u64,
}

impl Signed {
    fn new(
        scheme: &'static str,
        settings: &'static [(&'static str, &'static str)],
        headers: &[(&'static str, &str)],
        body: &str,
        at: u64,
    ) -> Signed {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect();
        Signed { scheme, settings, headers, body: body.into(), at }
    }

    fn verified(&self) -> Result<Verified, Refusal> {
        let mut settings = vec![("SOURCE_A_SCHEME", self.scheme)];
        settings.extend(self.settings);
        let sources = sources(&settings);
        let source = sources.named("a").unwrap();

        let mut request = http::Request::post("/webhooks/a");
        for (name, value) in &self.headers {
            // What is no header cannot arrive.
            let value = HeaderValue::from_bytes(value).map_err(|_| Refusal::Unreadable("no header"))?;
            request = request.header(*name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let now = UNIX_EPOCH + Duration::from_secs(self.at);
        let claim = source.claim(&parts, now)?;
        match source.take(claim, &source.verify_caller(&parts, None)?, &parts, None, &self.body)? {
            Taken::Event(_, verified) => Ok(verified),
            Taken::Handshake(_) => panic!("a handshake"),
        }
    }

    fn passes(&self) -> bool {
        match self.verified() {
            Ok(verified) => {
                assert_eq!(verified, Verified::Signature);
                true
            }
            Err(refusal) => {
                assert!(matches!(refusal, Refusal::NotProven(_) | Refusal::Unreadable(_)), "{refusal}");
                false
            }
        }
    }

    fn at(&self, at: u64) -> Signed {
        Signed { at, ..self.clone() }
    }

    fn with(&self, name: &'static str, value: &str) -> Signed {
        let mut changed = self.clone();
        changed.headers.retain(|(found, _)| *found != name);
        changed.headers.push((name, value.into()));
        changed
    }

    fn without(&self, name: &str) -> Signed {
        let mut changed = self.clone();
        changed.headers.retain(|(found, _)| *found != name);
        changed
    }

    fn with_settings(&self, settings: &'static [(&'static str, &'static str)]) -> Signed {
        Signed { settings, ..self.clone() }
    }
}

fn sources(settings: &[(&str, &str)]) -> Sources {
    let mut env = Env::from_pairs(settings.iter().copied());
    let sources = Sources::from_env(&mut env);
    env.finish().unwrap();
    sources
}

#[test]
fn every_published_signature_is_accepted() {
    for signed in all() {
        assert!(signed.passes(), "{}", signed.scheme);
    }
}

proptest! {
    #[test]
    fn no_byte_can_be_changed(which in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
        let mut signed = which.get(&all()).clone();
        // A signature that variables describe may have its digits in any case.
        prop_assume!(signed.scheme != "hmac" || flip != 0x20);
        let mut parts: Vec<&mut u8> = signed.headers.iter_mut().flat_map(|(_, value)| value).chain(&mut signed.body).collect();
        let index = byte.index(parts.len());
        *parts[index] ^= flip;
        prop_assert!(!signed.passes());
    }
}

proptest! {
    #[test]
    fn no_byte_of_a_token_and_of_what_it_covers_can_be_changed(byte in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
        let mut signed = FATTURE_IN_CLOUD.at(FATTURE_IN_CLOUD.at - 1);
        let (_, authorization) = &mut signed.headers[0];
        let mut token = authorization.split_off("Bearer ".len());
        let covered = signed.headers[1..].iter_mut().flat_map(|(_, value)| value);
        let mut parts: Vec<&mut u8> = token.iter_mut().chain(covered).collect();
        let index = byte.index(parts.len());
        *parts[index] ^= flip;
        signed.headers[0].1.extend(token);
        prop_assert!(signed.verified().is_err());
    }
}

#[test]
fn a_token_is_good_until_it_ends() {
    for (at, good) in [(-1, true), (-10_000, true), (0, false), (1, false)] {
        let verified = FATTURE_IN_CLOUD.at(FATTURE_IN_CLOUD.at.saturating_add_signed(at)).verified();
        assert_eq!(matches!(verified, Ok(Verified::Token)), good, "{at}");
    }
}

proptest! {
    #[test]
    fn nothing_else_passes(
        which in any::<prop::sample::Index>(),
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 3),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut signed = which.get(&all()).clone();
        for ((_, old), new) in signed.headers.iter_mut().zip(values) {
            *old = new;
        }
        signed.body = body;
        prop_assert!(!signed.passes());
    }
}

#[test]
fn a_part_that_is_missing_or_there_twice_is_refused() {
    for signed in all() {
        for (name, value) in &signed.headers {
            assert!(!signed.without(name).passes(), "{} without {name}", signed.scheme);
            assert!(!signed.with(name, "").passes(), "{} with {name} empty", signed.scheme);
            let mut twice = signed.clone();
            twice.headers.push((name, value.clone()));
            assert!(!twice.passes(), "{} with {name} twice", signed.scheme);
        }
        assert!(!Signed { body: Vec::new(), ..signed.clone() }.passes());
    }
}

#[test]
fn a_signature_is_good_for_as_long_as_the_provider_says() {
    for signed in [standard_webhooks(), svix_by_public_key(), slack(), described()] {
        for (at, good) in [(0, true), (300, true), (301, false), (-300, true), (-301, false)] {
            assert_eq!(signed.at(signed.at.saturating_add_signed(at)).passes(), good, "{} {at}", signed.scheme);
        }
    }
    for (at, good) in [(0, true), (300, true), (301, false), (-301, true), (-100_000, true)] {
        assert_eq!(stripe().at(stripe().at.saturating_add_signed(at)).passes(), good, "{at}");
    }
}

#[test]
fn a_time_is_written_in_digits() {
    for text in ["-1614265330", "+1614265330", "1614265330.0", "0x6037", " ", "99999999999999999999999"] {
        assert!(!standard_webhooks().with("webhook-timestamp", text).passes(), "{text}");
    }
}

#[test]
fn one_good_signature_of_several_is_enough() {
    let with = |text: &str| standard_webhooks().with("webhook-signature", text).passes();
    assert!(with(&format!("v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,x {V1}")));
    assert!(with(&format!("{V1} {V1A}")));
    assert!(!with("v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,x"));
    assert!(!with("v1,"));
    assert!(!with(&V1[3..]));
    assert!(!with(&V1.replace("v1,", "v2,")));
    assert!(!with(&V1.replace("v1,", "v1a,")));
    assert!(with(&format!("{}{V1}", "v1,x ".repeat(7))));
    assert!(!with(&format!("{}{V1}", "v1,x ".repeat(8))));
}

#[test]
fn a_signature_is_for_one_id() {
    assert!(!svix_by_public_key().with("svix-id", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W").passes());
    assert!(!standard_webhooks().with("webhook-id", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W").passes());
}

#[test]
fn names_of_two_families_are_not_mixed() {
    let mixed = standard_webhooks().without("webhook-id").with("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert!(!mixed.passes());
}

#[test]
fn a_secret_may_lack_its_prefix_and_its_padding() {
    let key = LENIENT.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS").unwrap();
    let text = format!("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{}", r#"{"test": 2432232314}"#);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
    let signed = standard_webhooks().with("webhook-signature", &format!("v1,{}", STANDARD.encode(tag)));
    assert!(signed.with_settings(&[("SOURCE_A_SIGNING_SECRET", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS")]).passes());
    assert!(signed.with_settings(&[("SOURCE_A_SIGNING_SECRET", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS=")]).passes());
    assert!(signed.with_settings(&[("SOURCE_A_SIGNING_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS")]).passes());
    assert!(!signed.passes());
}

#[test]
fn a_secret_of_stripe_is_text_though_it_looks_like_base64() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let tag = |key: &[u8]| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"1533204620.{}");
        format!("t=1533204620,v1={}", signature::hex(tag.as_ref()))
    };
    let signed = Signed { body: b"{}".to_vec(), ..stripe() };
    let signed = signed.with_settings(&[("SOURCE_A_SIGNING_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
    assert!(signed.with("stripe-signature", &tag(secret.as_bytes())).passes());
    assert!(!signed.with("stripe-signature", &tag(&secret.as_bytes()[6..])).passes());
    assert!(!signed.with("stripe-signature", &tag(&STANDARD.decode(&secret[6..]).unwrap())).passes());
}

#[test]
fn secrets_can_be_rotated() {
    assert!(stripe().with_settings(&[("SOURCE_A_SIGNING_SECRET", "new whsec_test_secret")]).passes());
    assert!(!stripe().with_settings(&[("SOURCE_A_SIGNING_SECRET", "new")]).passes());
}

#[test]
fn stripes_header_has_one_time_and_no_other_versions() {
    let signature = "b211a6d90b230f214d40f639a5547af1198a989ecb45d03e3db0ab7bdcfe15d6";
    let with = |text: &str| stripe().with("stripe-signature", text).passes();
    assert!(with(&format!("v1={},t=1533204620,v0=x,v1={signature}", "0".repeat(64))));
    assert!(!with(&format!("t=1533204620,v0={signature}")));
    assert!(!with(&format!("v1={signature}")));
    assert!(!with(&format!("t=1533204620,t=1533204621,v1={signature}")));
    assert!(!with(&format!("t=1533204620,v1={}", signature.to_uppercase())));
}

/// GitHub's documentation has a secret with spaces, which part secrets in a variable.
#[test]
fn a_secret_may_be_any_text() {
    let ProofKind::Signature(signing) = &schemes::named("github").unwrap().proof else { panic!("no signature") };
    let mut check = SignatureCheck::new(signing);
    check.add_secret("It's a Secret to Everybody").unwrap();
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let (parts, ()) = http::Request::post("/").header("x-hub-signature-256", signature).body(()).unwrap().into_parts();
    let claim = check.claim(&parts.headers, SystemTime::now()).unwrap();
    assert!(check.verify(&claim, b"Hello, World!").is_ok());
    assert!(check.verify(&claim, b"Hello, World?").is_err());
}

#[test]
fn no_debug_print_holds_a_secret() {
    let secrets = ["s3cret-key-of-32-characters-and-more", "whsec_czNjcmV0", "s3cret-token", "czNjcmV0"];
    let sources = sources(&[
        ("SOURCE_GITHUB_SIGNING_SECRET", secrets[0]),
        ("SOURCE_GITHUB_ACCESS_KEY", secrets[0]),
        ("SOURCE_GITHUB_MASTER_KEY", secrets[0]),
        ("SOURCE_STANDARD_WEBHOOKS_SIGNING_SECRET", secrets[1]),
        ("SOURCE_META_SIGNING_SECRET", secrets[0]),
        ("SOURCE_META_VERIFY_TOKEN", secrets[2]),
        ("SOURCE_GRAPH_VERIFY_TOKEN", secrets[2]),
        ("SOURCE_TWILIO_SIGNING_SECRET", secrets[0]),
        ("SOURCE_TWILIO_URL", "https://hooks.example"),
    ]);
    let print = format!("{sources:?}");
    assert!(print.contains("github") && !secrets.iter().any(|secret| print.contains(secret)), "{print}");
    assert!(!print.contains("115, 51, 99, 114"), "{print}");
}
