//! The region of a topic, and the one host in it that is ever asked for anything.

use crate::query;

/// The region that an ARN names.
#[derive(Clone, Debug)]
pub(super) struct Region {
    host: String,
}

impl Region {
    /// The region of the topic with this ARN.
    pub(super) fn of(topic: &str) -> Option<Region> {
        let mut parts = topic.split(':');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let (arn, partition, service, region, account, name) = (part()?, part()?, part()?, part()?, part()?, part()?);
        let domain = match partition {
            "aws" | "aws-us-gov" => "amazonaws.com",
            "aws-cn" => "amazonaws.com.cn",
            _ => return None,
        };
        let is_word = |text: &str, others: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c));
        let is_topic = (arn, service) == ("arn", "sns")
            && is_word(region, "-")
            && account.bytes().all(|digit| digit.is_ascii_digit())
            && is_word(name, "-_.")
            && parts.next().is_none();
        is_topic.then(|| Region { host: format!("sns.{region}.{domain}") })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The path of a certificate, where the URL is of one. It has no other: with more than one, a single certificate could
    /// push all others out of those that are kept.
    pub(super) fn certificate<'a>(&self, url: &'a str) -> Option<&'a str> {
        let path = self.target(url)?;
        let is_file = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_plain = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(is_file);
        (path.ends_with(".pem") && path.split('/').skip(1).all(is_plain)).then_some(path)
    }

    /// The target of the request that confirms a subscription to this topic, where the URL is for nothing else.
    pub(super) fn confirmation<'a>(&self, url: &'a str, topic: &str) -> Option<&'a str> {
        let target = self.target(url)?;
        let query = target.strip_prefix("/?")?;
        let is_confirmation = query::only(query, "Action").as_deref() == Some("ConfirmSubscription")
            && query::only(query, "TopicArn").as_deref() == Some(topic)
            && query::only(query, "Token").is_some();
        (is_confirmation && !query.contains('#')).then_some(target)
    }

    /// What stands behind the host: this one, by HTTPS, at its usual port, without a user.
    fn target<'a>(&self, url: &'a str) -> Option<&'a str> {
        let target = url.strip_prefix("https://")?.strip_prefix(&*self.host)?;
        (target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic())).then_some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-north-1:123456789012:orders";

    #[test]
    fn a_topic_has_one_host() {
        let host = |topic: &str| Region::of(topic).map(|region| region.host);
        assert_eq!(host(TOPIC).as_deref(), Some("sns.eu-north-1.amazonaws.com"));
        assert_eq!(host("arn:aws-cn:sns:cn-north-1:1:a_b.fifo").as_deref(), Some("sns.cn-north-1.amazonaws.com.cn"));
        assert_eq!(host("arn:aws-us-gov:sns:us-gov-west-1:1:a").as_deref(), Some("sns.us-gov-west-1.amazonaws.com"));
        for wrong in [
            "",
            "orders",
            "arn:aws:sqs:eu-north-1:1:a",
            "arn:aws:sns::1:a",
            "arn:aws:sns:evil.example/:1:a",
            "arn:aws:sns:eu-north-1:1:",
            "arn:aws:sns:eu-north-1:1:a:9f7c6c1e",
            "arn:aws:sns:eu-north-1:me:a",
            "arn:evil:sns:eu-north-1:1:a",
        ] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_what_is_on_the_host_is_a_certificate() {
        let region = Region::of(TOPIC).unwrap();
        let good =
            "https://sns.eu-north-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem";
        assert_eq!(region.certificate(good), Some(&good["https://sns.eu-north-1.amazonaws.com".len()..]));
        for wrong in ELSEWHERE {
            assert_eq!(region.certificate(&format!("{wrong}/a.pem")), None, "{wrong}");
        }
        for path in
            ["", "/", "a.pem", "/a.crt", "/a.pem?", "/a?b=.pem", "/a#.pem", "/a%00.pem", "/@evil.pem", "/a b.pem"]
                .into_iter()
                .chain(["//a.pem", "/./a.pem", "/b/../a.pem", "/b//a.pem"])
        {
            assert_eq!(region.certificate(&format!("https://{}{path}", region.host)), None, "{path}");
        }
    }

    #[test]
    fn only_what_confirms_this_topic_is_a_confirmation() {
        let region = Region::of(TOPIC).unwrap();
        let good = format!("/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb");
        assert_eq!(region.confirmation(&format!("https://{}{good}", region.host), TOPIC), Some(&*good));
        for wrong in ELSEWHERE {
            assert_eq!(region.confirmation(&format!("{wrong}{good}"), TOPIC), None, "{wrong}");
        }
        for target in [
            good.replace("ConfirmSubscription", "Unsubscribe"),
            good.replace("ConfirmSubscription", "ConfirmSubscription&Action=Publish"),
            good.replace("orders", "others"),
            good.replace("Token", "Tokens"),
            format!("{good}#a"),
            format!("/x{}", &good[1..]),
        ] {
            assert_eq!(region.confirmation(&format!("https://{}{target}", region.host), TOPIC), None, "{target}");
        }
    }

    /// What is not the host, or not by HTTPS at its own port.
    const ELSEWHERE: [&str; 17] = [
        "http://sns.eu-north-1.amazonaws.com",
        "HTTPS://sns.eu-north-1.amazonaws.com",
        "https://sns.eu-west-1.amazonaws.com",
        "https://sns.eu-north-1.amazonaws.com.cn",
        "https://sns.eu-north-1.amazonaws.com.evil.example",
        "https://sns.eu-north-1.amazonaws.comevil.example",
        "https://sns.eu-north-1.amazonaws.com.",
        "https://sns.eu-north-1.amazonaws.com:443",
        "https://sns.eu-north-1.amazonaws.com:8443",
        "https://sns.eu-north-1.amazonaws.com@evil.example",
        "https://user:password@sns.eu-north-1.amazonaws.com",
        "https://sns.eu-north-1.amazonaws.com\\@evil.example",
        "https://evil.example/sns.eu-north-1.amazonaws.com",
        "https://evil.example?https://sns.eu-north-1.amazonaws.com",
        "https://127.0.0.1",
        "https://[::1]",
        "//sns.eu-north-1.amazonaws.com",
    ];
}
