//! The settings that only some schemes use: what each wants, and what it makes of them.

use std::borrow::Cow;

use secrecy::SecretString;
use webhook_queue::Env;

use super::proof::Proof;
use super::scheme::{ProofKind, Reading, Scheme, Signing, Token};
use super::schemes;
use super::signature::SignatureCheck;
use super::signed_url::SignedUrlCheck;
use super::sns::TopicCheck;
use super::token::{TokenCheck, p256_point};

/// All of them.
pub(super) const SETTINGS: [&str; 11] = [
    "SIGNING_SECRET",
    "PUBLIC_KEY",
    "VERIFY_TOKEN",
    "TOPIC",
    "URL",
    "SIGNATURE_HEADER",
    "SIGNATURE_FORMAT",
    "SIGNED_CONTENT",
    "TIMESTAMP_HEADER",
    "ID_HEADER",
    "TYPE_HEADER",
];
/// Those that describe a signature.
const DESCRIPTION: [&str; 6] =
    ["SIGNATURE_HEADER", "SIGNATURE_FORMAT", "SIGNED_CONTENT", "TIMESTAMP_HEADER", "ID_HEADER", "TYPE_HEADER"];

/// What a source has of its own within its scheme.
pub(super) struct Own {
    pub(super) proof: Proof,
    pub(super) verify_token: Option<SecretString>,
    pub(super) readings: Cow<'static, [Reading]>,
}

/// Reads the settings of one source. Problems are noted in `env`.
pub(super) fn read(env: &mut Env, scheme: &Scheme, setting: &impl Fn(&str) -> String) -> Option<Own> {
    refuse_useless(env, scheme, setting);
    let mut settings = Settings { env, setting, scheme: scheme.name };
    let verify_token = wants_verify_token(scheme).then(|| settings.needed("VERIFY_TOKEN")).flatten();
    let verify_token = verify_token.map(|token| SecretString::from(token.trim()));
    let (proof, readings) = match &scheme.proof {
        ProofKind::Nothing => (Some(Proof::Nothing), None),
        ProofKind::Signature(signing) => (settings.signature(signing), None),
        ProofKind::Configured => {
            let signing = settings.signing();
            (signing.and_then(|signing| settings.signature(&signing)), Some(settings.reading()))
        }
        ProofKind::SignedUrl { signature, digest } => (settings.signed_url(signature, digest), None),
        ProofKind::Token(token) => (settings.token(token), None),
        ProofKind::Topic => (settings.topic(), None),
        ProofKind::ClientState => (verify_token.clone().map(Proof::ClientState), None),
    };
    let readings = readings.map_or(Cow::Borrowed(scheme.readings), |reading| Cow::Owned(vec![reading]));
    Some(Own { proof: proof?, verify_token, readings })
}

/// The settings that the scheme uses.
fn used(scheme: &Scheme) -> Vec<&'static str> {
    let mut used = match &scheme.proof {
        ProofKind::Nothing | ProofKind::ClientState => Vec::new(),
        ProofKind::Signature(signing) if signing.takes_public_keys() => vec!["SIGNING_SECRET", "PUBLIC_KEY"],
        ProofKind::Signature(_) => vec!["SIGNING_SECRET"],
        ProofKind::Configured => [&["SIGNING_SECRET"][..], &DESCRIPTION].concat(),
        ProofKind::SignedUrl { .. } => vec!["SIGNING_SECRET", "URL"],
        ProofKind::Token(_) => vec!["URL", "PUBLIC_KEY"],
        ProofKind::Topic => vec!["TOPIC"],
    };
    if wants_verify_token(scheme) {
        used.push("VERIFY_TOKEN");
    }
    used
}

fn wants_verify_token(scheme: &Scheme) -> bool {
    matches!(scheme.proof, ProofKind::ClientState)
        || scheme.handshakes.iter().any(|handshake| handshake.verify_token.is_some())
}

fn refuse_useless(env: &mut Env, scheme: &Scheme, setting: &impl Fn(&str) -> String) {
    let used = used(scheme);
    for name in SETTINGS.into_iter().filter(|name| !used.contains(name)) {
        if !env.is_set(&setting(name)) {
            continue;
        }
        let instead = match &used[..] {
            [] if scheme.name == schemes::PLAIN.name => {
                format!("which verifies no signatures; set {} to the provider's own, or remove it", setting("SCHEME"))
            }
            [] => format!("which verifies no signatures; remove it, and set {} instead", setting("ACCESS_KEY")),
            used => {
                let used: Vec<String> = used.iter().map(|name| setting(name)).collect();
                format!("which uses {}; remove it", used.join(", "))
            }
        };
        env.problem(&setting(name), format!("has no effect with the scheme {}, {instead}", scheme.name));
    }
}

/// The settings of one source, as they are read.
pub(super) struct Settings<'a, F> {
    env: &'a mut Env,
    setting: &'a F,
    scheme: &'static str,
}

impl<F: Fn(&str) -> String> Settings<'_, F> {
    pub(super) fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.env.problem(&(self.setting)(name), message);
    }

    pub(super) fn optional(&mut self, name: &str) -> Option<String> {
        self.env.text(&(self.setting)(name)).filter(|text| !text.trim().is_empty())
    }

    pub(super) fn needed(&mut self, name: &str) -> Option<String> {
        let text = self.optional(name);
        if text.is_none() {
            let what = match name {
                "SIGNING_SECRET" => "the secret that the provider signs with, or choose the scheme plain",
                "VERIFY_TOKEN" => "the token that you have given to the provider",
                "TOPIC" => "the ARN of the topic, like arn:aws:sns:eu-north-1:123456789012:orders",
                "URL" => "the public URL of this source, exactly as the provider has it",
                _ => "the name of the header that holds the signature",
            };
            let scheme = self.scheme;
            self.problem(name, format!("is needed by the scheme {scheme}: set it to {what}"));
        }
        text
    }

    fn signature(&mut self, signing: &Signing) -> Option<Proof> {
        let mut check = SignatureCheck::new(signing);
        let public_keys = if signing.takes_public_keys() { self.optional("PUBLIC_KEY") } else { None };
        let secrets = match &public_keys {
            Some(_) => self.optional("SIGNING_SECRET"),
            None => self.needed("SIGNING_SECRET"),
        };
        for key in public_keys.iter().flat_map(|keys| keys.split_whitespace()) {
            check.add_public_key(key).unwrap_or_else(|problem| self.problem("PUBLIC_KEY", problem));
        }
        for secret in secrets.iter().flat_map(|secrets| secrets.split_whitespace()) {
            check.add_secret(secret).unwrap_or_else(|problem| self.problem("SIGNING_SECRET", problem));
        }
        check.has_keys().then_some(Proof::Signature(check))
    }

    fn signed_url(&mut self, header: &'static str, digest: &'static str) -> Option<Proof> {
        let secrets = self.needed("SIGNING_SECRET");
        let url = self.url()?.trim_end_matches('/').into();
        let check = SignedUrlCheck::new(digest, url, secrets?.split_whitespace());
        Some(Proof::SignedUrl { header, check })
    }

    fn token(&mut self, token: &Token) -> Option<Proof> {
        let published = self.optional("PUBLIC_KEY");
        let key = p256_point(published.as_deref().unwrap_or(token.public_key));
        if key.is_none() {
            self.problem("PUBLIC_KEY", "is not a P-256 public key in PEM (line breaks may be written as \\n)");
        }
        Some(Proof::Token(TokenCheck::new(token.issuer, self.url()?.into(), key?)))
    }

    fn topic(&mut self) -> Option<Proof> {
        let topic = self.needed("TOPIC")?;
        match TopicCheck::new(topic.trim()) {
            Ok(Some(check)) => return Some(Proof::Topic(check)),
            Ok(None) => {
                self.problem("TOPIC", "is not the ARN of a topic, like arn:aws:sns:eu-north-1:123456789012:orders")
            }
            Err(error) => self.problem("TOPIC", error.to_string()),
        }
        None
    }

    fn url(&mut self) -> Option<String> {
        let url = self.needed("URL")?.trim().to_owned();
        let is_url = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
        if !is_url || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.problem("URL", "is not a URL like https://hooks.example.com/webhooks/shop");
            return None;
        }
        Some(url)
    }
}
