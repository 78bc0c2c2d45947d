//! A message as SNS sends it, and the text that is signed of it.

use std::borrow::Cow;

use serde::Deserialize;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Notification,
    /// Asks whether the topic may send.
    Subscription,
    /// Tells that it will not any more.
    Unsubscription,
}

/// The fields that are signed, and those that say how. A field that is there twice is an error.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Message<'a> {
    #[serde(rename = "Type", borrow)]
    kind: Cow<'a, str>,
    message_id: Cow<'a, str>,
    pub(super) topic_arn: Cow<'a, str>,
    subject: Option<Cow<'a, str>>,
    message: Cow<'a, str>,
    timestamp: Cow<'a, str>,
    token: Option<Cow<'a, str>>,
    #[serde(rename = "SubscribeURL")]
    pub(super) subscribe_url: Option<Cow<'a, str>>,
    pub(super) signature_version: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    #[serde(rename = "SigningCertURL")]
    pub(super) signing_cert_url: Cow<'a, str>,
}

impl<'a> Message<'a> {
    /// Reads a body. A list is none: its items would be taken for the fields in their order.
    pub(super) fn read(body: &'a [u8]) -> Option<Message<'a>> {
        let is_object = body.trim_ascii_start().starts_with(b"{");
        if is_object { serde_json::from_slice(body).ok() } else { None }
    }

    /// Names and values in turn, each on a line of its own, in the order of the names.
    pub(super) fn signed_text(&self) -> Option<(Kind, String)> {
        let kind = match &*self.kind {
            "Notification" => Kind::Notification,
            "SubscriptionConfirmation" => Kind::Subscription,
            "UnsubscribeConfirmation" => Kind::Unsubscription,
            _ => return None,
        };
        let mut fields = vec![("MessageId", &self.message_id)];
        if kind == Kind::Notification {
            fields.extend(self.subject.as_ref().map(|subject| ("Subject", subject)));
            fields.push(("Timestamp", &self.timestamp));
        } else {
            fields.push(("SubscribeURL", self.subscribe_url.as_ref()?));
            fields.push(("Timestamp", &self.timestamp));
            fields.push(("Token", self.token.as_ref()?));
        }
        fields.extend([("TopicArn", &self.topic_arn), ("Type", &self.kind)]);
        // In any of these the lines of another field could stand, and one text would be that of two messages.
        if fields.iter().any(|(_, value)| value.contains('\n')) {
            return None;
        }
        fields.insert(0, ("Message", &self.message));
        Some((kind, fields.iter().flat_map(|(name, value)| [name, "\n", &**value, "\n"]).collect()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn signed_text(changed: Value) -> Option<String> {
        let mut message = json!({
            "Type": "Notification",
            "MessageId": "4d4dc071-ddbf-465d-bba8-08f81c89da64",
            "TopicArn": "arn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P",
            "Subject": "My subject",
            "Message": "My Test Message",
            "Timestamp": "2019-01-31T04:37:04.321Z",
            "SignatureVersion": "1",
            "Signature": "",
            "SigningCertURL": "",
        });
        for (name, value) in changed.as_object().unwrap() {
            message[name] = value.clone();
        }
        let text = message.to_string();
        serde_json::from_str::<Message<'_>>(&text).ok()?.signed_text().map(|(_, text)| text)
    }

    /// Of Amazon's documentation.
    #[test]
    fn the_text_is_the_documented_one() {
        let notification = "Message\nMy Test Message\nMessageId\n4d4dc071-ddbf-465d-bba8-08f81c89da64\nSubject\nMy subject\n\
            Timestamp\n2019-01-31T04:37:04.321Z\nTopicArn\narn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P\n\
            Type\nNotification\n";
        assert_eq!(signed_text(json!({})).as_deref(), Some(notification));
        let without_subject = notification.replace("Subject\nMy subject\n", "");
        assert_eq!(signed_text(json!({ "Subject": null })), Some(without_subject));
        let subscription = json!({ "Type": "SubscriptionConfirmation", "SubscribeURL": "https://sns", "Token": "233" });
        let expected = "Message\nMy Test Message\nMessageId\n4d4dc071-ddbf-465d-bba8-08f81c89da64\nSubscribeURL\nhttps://sns\n\
            Timestamp\n2019-01-31T04:37:04.321Z\nToken\n233\nTopicArn\n\
            arn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P\nType\nSubscriptionConfirmation\n";
        assert_eq!(signed_text(subscription).as_deref(), Some(expected));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_message() {
        assert!(signed_text(json!({ "Message": "a\nMessageId\n1" })).is_some());
        for name in ["MessageId", "Subject", "Timestamp", "TopicArn"] {
            assert_eq!(signed_text(json!({ name: "a\nType\nNotification" })), None, "{name}");
        }
        for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation", "notification", ""] {
            assert_eq!(signed_text(json!({ "Type": kind })), None, "{kind}");
        }
        assert!(serde_json::from_str::<Message<'_>>(r#"{"Message":"a","Message":"b"}"#).is_err());
    }
}
