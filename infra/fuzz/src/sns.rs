//! Messages of Amazon SNS, as it signs them: with a key of the fuzzer's own, whose certificate the source knows.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Map, Value};

use crate::draft::Draft;

pub(crate) const TOPIC: &str = "arn:aws:sns:eu-north-1:123456789012:orders";
pub(crate) const CERTIFICATE_PATH: &str = "/SimpleNotificationService-1.pem";
/// Good for a hundred years; nobody asks.
pub(crate) const CERTIFICATE: &[u8] = include_bytes!("../sns/certificate.pem");

static KEY: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::from_pkcs8(include_bytes!("../sns/key.der")).unwrap());

pub(crate) const SUBSCRIPTION: &str = "SubscriptionConfirmation";
pub(crate) const UNSUBSCRIPTION: &str = "UnsubscribeConfirmation";
/// The types, each with the signature of version 1 for the fields below.
const KINDS: [(&str, &str); 3] = [
    ("Notification", include_str!("../sns/notification.v1")),
    (SUBSCRIPTION, include_str!("../sns/subscription.v1")),
    (UNSUBSCRIPTION, include_str!("../sns/unsubscribe.v1")),
];
/// The one field that a notification may lack.
const SUBJECT: &str = "Subject";
/// Where the input says nothing else.
const FIELDS: [(&str, &str); 5] = [
    ("Message", "Hello world!"),
    ("MessageId", "22b80b92"),
    (SUBJECT, "My First Message"),
    ("Timestamp", "2012-05-02T00:54:06.655Z"),
    ("Token", "2336412f37fb"),
];

const MAKES_A_LIST: u8 = b'[';
/// As the forwarder has them.
const IN_A_LIST: [&str; 11] = [
    "Type",
    "MessageId",
    "TopicArn",
    SUBJECT,
    "Message",
    "Timestamp",
    "Token",
    "SubscribeURL",
    "SignatureVersion",
    "Signature",
    "SigningCertURL",
];

/// Makes the body a message and signs it: of any text by version 2, and by version 1, which this key can only sign by
/// `openssl`, of that text alone. Whatever else is in the body stays. Returns what the signature covers.
pub(crate) fn sign(draft: &mut Draft, way: u8) -> &'static [&'static str] {
    draft.take("x-amz-sns-rawdelivery");
    let mut message = match serde_json::from_slice(&draft.body) {
        Ok(Value::Object(message)) => message,
        _ => Map::from_iter([("Message".to_owned(), String::from_utf8_lossy(&draft.body).into())]),
    };
    let (kind, signature) = KINDS[usize::from(way / 2) % KINDS.len()];
    let is_first_version = way.is_multiple_of(2);
    for (name, otherwise) in FIELDS {
        let said = message.get(name).and_then(Value::as_str).filter(|text| name == "Message" || !text.contains('\n'));
        if is_first_version || said.is_none() && name != SUBJECT {
            message.insert(name.to_owned(), otherwise.into());
        } else if said.is_none() {
            message.remove(name);
        }
    }
    let host = "https://sns.eu-north-1.amazonaws.com";
    let confirmation = format!("{host}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb");
    for (name, value) in [
        ("Type", kind),
        ("TopicArn", TOPIC),
        ("SubscribeURL", &confirmation),
        ("SigningCertURL", &format!("{host}{CERTIFICATE_PATH}")),
        ("SignatureVersion", if is_first_version { "1" } else { "2" }),
    ] {
        message.insert(name.to_owned(), value.into());
    }
    let covered = covered(kind);
    let signature = if is_first_version { signature.to_owned() } else { second_version(&message, covered) };
    message.insert("Signature".to_owned(), signature.into());
    draft.body = Value::Object(message).to_string().into_bytes();
    covered
}

fn covered(kind: &str) -> &'static [&'static str] {
    match kind {
        "Notification" => &["Message", "MessageId", SUBJECT, "Timestamp", "TopicArn", "Type"],
        _ => &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
    }
}

fn second_version(message: &Map<String, Value>, covered: &[&str]) -> String {
    let lines = covered.iter().filter_map(|name| Some([name, "\n", message.get(*name)?.as_str()?, "\n"])).flatten();
    let mut signature = vec![0; KEY.public().modulus_len()];
    KEY.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), lines.collect::<String>().as_bytes(), &mut signature).unwrap();
    STANDARD.encode(signature)
}

/// Changes a character of a signed message: of what is covered, or of what says how. Or makes a list of it, whose items have
/// no names.
pub(crate) fn alter(draft: &mut Draft, covered: &[&str], spot: u8) {
    let mut message: Value = serde_json::from_slice(&draft.body).unwrap();
    if spot == MAKES_A_LIST {
        let items = IN_A_LIST.map(|name| message[name].take());
        draft.body = Value::from_iter(items).to_string().into_bytes();
        return;
    }
    let fields = covered.iter().copied().chain(["Signature", "SignatureVersion", "SigningCertURL"]);
    let fields: Vec<&str> = fields.filter(|name| message[name].is_string()).collect();
    let field = &mut message[fields[usize::from(spot) % fields.len()]];
    let mut characters: Vec<char> = field.as_str().unwrap().chars().collect();
    match characters.len() {
        0 => characters.push('x'),
        count => {
            let character = &mut characters[usize::from(spot) * 7 % count];
            *character = char::from_u32(u32::from(*character) ^ 1 << (spot % 7)).unwrap();
        }
    }
    *field = characters.into_iter().collect::<String>().into();
    draft.body = message.to_string().into_bytes();
}

/// The type of a message.
pub(crate) fn kind(body: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(body).ok()?;
    Some(message["Type"].as_str()?.to_owned())
}
