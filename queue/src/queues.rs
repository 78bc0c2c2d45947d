//! Which queues the environment names, and in which order.

use std::path::PathBuf;

use crate::config::Role;
use crate::env::{Env, Problem};
use crate::publish_url::PublishUrl;
use crate::queue_url::{QueueUrl, of_publish_url};

const DEFAULT_SQLITE_FILE: &str = "webhooks.db";
/// The variables that only RabbitMQ has a use for.
const RABBITMQ_ONLY: [&str; 7] = [
    "QUEUE_NAME",
    "QUEUE_EXCHANGE",
    "QUEUE_ROUTING_KEY",
    "QUEUE_TYPE",
    "QUEUE_DECLARE",
    "QUEUE_MANAGEMENT_URL",
    "QUEUE_CA_FILE",
];
/// Of those, the ones that have no use where a forwarder publishes through the management API.
const NOT_FOR_PUBLISHING: [&str; 2] = ["QUEUE_DECLARE", "QUEUE_MANAGEMENT_URL"];
const NO_DISK: &str = "a sqlite: queue, and a function's disk goes with it: name a queue elsewhere, like \
                       amqps://user:password@host/vhost";

/// The queue, its exchange where the address names it, and the fallbacks. What is wrong is noted.
pub(crate) fn read_queues(env: &mut Env, role: Role) -> (QueueUrl, Option<String>, Vec<QueueUrl>) {
    let read = read_url(env, role);
    let is_read = read.is_some();
    let (url, exchange) = read.unwrap_or_else(|| (QueueUrl::Sqlite(PathBuf::from(DEFAULT_SQLITE_FILE)), None));
    let fallbacks = read_fallbacks(env, role, &url);
    if is_read {
        refuse_useless(env, &url, &fallbacks);
    }
    (url, exchange, fallbacks)
}

/// The queue, and its exchange where the address names it. `None` where something is wrong, and noted.
fn read_url(env: &mut Env, role: Role) -> Option<(QueueUrl, Option<String>)> {
    let read = match env.text("QUEUE_URL") {
        Some(text) => {
            PublishUrl::refuse_guide(env);
            let queue = match PublishUrl::parse(&text) {
                Ok(url) => of_publish_url(url, role),
                Err(_) => QueueUrl::parse(&text).map(|queue| (queue, None)),
            };
            queue.map_err(|problem| ("QUEUE_URL".to_owned(), problem))
        }
        None => match PublishUrl::from_guide(env) {
            Some(Ok(url)) => of_publish_url(url, role).map_err(|problem| ("AmqpEndpoint".to_owned(), problem)),
            Some(Err(Problem { variable, message })) => Err((variable, message)),
            None => unset(role).map(|queue| (queue, None)).map_err(|problem| ("QUEUE_URL".to_owned(), problem)),
        },
    };
    if let Ok((QueueUrl::Sqlite(_), _)) = read
        && role == Role::Function
    {
        env.problem("QUEUE_URL", format!("is {NO_DISK}"));
    }
    read.map_err(|(variable, problem)| env.problem(&variable, problem)).ok()
}

/// What an unset `QUEUE_URL` means.
fn unset(role: Role) -> Result<QueueUrl, String> {
    match role {
        Role::LocalForwarder if cfg!(feature = "sqlite") => Ok(QueueUrl::Sqlite(PathBuf::from(DEFAULT_SQLITE_FILE))),
        Role::LocalForwarder | Role::Forwarder => Err(
            "is not set: a forwarder that others can reach needs an explicit queue, like amqps://user:password@host/vhost"
                .to_owned(),
        ),
        Role::Function => Err(
            "is not set: a function has no disk of its own, so it needs a queue elsewhere, like \
             amqps://user:password@host/vhost"
                .to_owned(),
        ),
        Role::Consumer => Err(
            "is not set: name the queue that the forwarder publishes to, like amqps://user:password@host/vhost or \
             sqlite:webhooks.db"
                .to_owned(),
        ),
    }
}

/// A setting must have an effect on one of the queues.
fn refuse_useless(env: &mut Env, first: &QueueUrl, fallbacks: &[QueueUrl]) {
    let (useless, why) = useless(first);
    for name in useless {
        if env.is_set(name) && fallbacks.iter().all(|rung| self::useless(rung).0.contains(name)) {
            env.problem(name, why);
        }
    }
}

/// The variables that have no effect on a queue, and what to say about them.
fn useless(url: &QueueUrl) -> (&'static [&'static str], &'static str) {
    match url {
        QueueUrl::Sqlite(_) => {
            (&RABBITMQ_ONLY, "has no effect on a sqlite: queue; remove it, or set QUEUE_URL to an amqps:// address")
        }
        QueueUrl::Sqs(_) => {
            (&RABBITMQ_ONLY, "has no effect on an SQS queue; remove it, or set QUEUE_URL to an amqps:// address")
        }
        QueueUrl::RabbitMqHttp(_) => {
            (&NOT_FOR_PUBLISHING, "has no effect where events are published through the management API; remove it")
        }
        QueueUrl::Amqp(_) => (&[], ""),
    }
}

/// Each problem names the place of its URL, not the URL, which may hold a password.
fn read_fallbacks(env: &mut Env, role: Role, url: &QueueUrl) -> Vec<QueueUrl> {
    const NAME: &str = "QUEUE_FALLBACK_URLS";
    let Some(text) = env.text(NAME) else { return Vec::new() };
    if role == Role::Consumer {
        env.problem(
            NAME,
            "has no effect on a consumer, which reads one queue; `webhook-forwarder drain` moves there what the \
             fallbacks hold",
        );
        return Vec::new();
    }
    if !env.is_set("QUEUE_URL") && !env.is_set("AmqpEndpoint") {
        env.problem(NAME, "is set, and QUEUE_URL is not: name the first queue there");
    }
    let mut rungs = vec![url.clone()];
    for (place, text) in text.split_whitespace().enumerate().map(|(place, text)| (place + 1, text)) {
        match QueueUrl::parse(text) {
            Err(problem) => env.problem(NAME, format!("number {place} {problem}")),
            Ok(rung) if rungs.iter().any(|other| other.redacted() == rung.redacted()) => {
                env.problem(NAME, format!("number {place} is a queue that was named before: {}", rung.redacted()));
            }
            Ok(QueueUrl::Sqlite(_)) if role == Role::Function => {
                env.problem(NAME, format!("number {place} is {NO_DISK}"));
            }
            Ok(rung) => rungs.push(rung),
        }
    }
    rungs.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AwsCredentials;
    use crate::config::QueueConfig;

    const SQS: &str = "https://sqs.eu-north-1.amazonaws.com/123456789012/hooks";
    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "s3cret")];

    fn read(pairs: &[(&str, &str)], role: Role) -> Result<QueueConfig, String> {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let config = QueueConfig::from_env(&mut env, role);
        env.finish().map(|()| config).map_err(|error| error.to_string())
    }

    fn ladder(first: &str, fallbacks: &str, role: Role) -> Result<QueueConfig, String> {
        read(&[("QUEUE_URL", first), ("QUEUE_FALLBACK_URLS", fallbacks), KEYS[0], KEYS[1]], role)
    }

    #[test]
    fn queues_keep_their_order_and_share_what_they_have_in_common() {
        let fallbacks = format!("http://u:p@host/api/exchanges/v/other/publish  {SQS}\n sqlite:x.db");
        let config = ladder("amqp://u:p@host/v", &fallbacks, Role::Forwarder).unwrap();
        let rungs: Vec<QueueConfig> = config.rungs().collect();
        let names: Vec<String> = rungs.iter().map(|rung| rung.url.redacted()).collect();
        assert_eq!(names[0], "amqp://host/v");
        assert_eq!(names[2], SQS);
        assert!(matches!(rungs[1].url, QueueUrl::RabbitMqHttp(_)) && matches!(rungs[3].url, QueueUrl::Sqlite(_)));
        assert_eq!((rungs[0].exchange.as_str(), rungs[1].exchange.as_str()), ("e-conomic.direct", "other"));
        assert!(rungs.iter().all(|rung| rung.fallbacks.is_empty()));
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn a_setting_must_have_an_effect_on_one_of_the_queues() {
        let with_type = |first, fallbacks| {
            let queues = [("QUEUE_URL", first), ("QUEUE_FALLBACK_URLS", fallbacks), ("QUEUE_TYPE", "quorum")];
            read(&[&queues[..], &KEYS].concat(), Role::Forwarder)
        };
        with_type(SQS, "amqp://u:p@host").unwrap();
        with_type("amqp://u:p@host", SQS).unwrap();
        let error = with_type(SQS, "sqlite:x.db").unwrap_err();
        assert!(error.starts_with("QUEUE_TYPE: has no effect on an SQS queue"), "{error}");
    }

    const ENDPOINT: (&str, &str) = ("AmqpEndpoint", "https://host/api/exchanges/v%20h/orders/publish");
    const HEADER: (&str, &str) = ("AmqpAuthHeader", "Basic dTpzM2NyZXQ=");

    #[test]
    fn the_guides_settings_lead_a_forwarder_to_the_management_api_and_a_consumer_to_the_broker() {
        let forwarder = read(&[ENDPOINT, HEADER], Role::Forwarder).unwrap();
        assert_eq!(forwarder.url.redacted(), ENDPOINT.1);
        let consumer = read(&[ENDPOINT, HEADER], Role::Consumer).unwrap();
        assert_eq!(consumer.url.redacted(), "amqps://host/v%20h");
        assert_eq!((forwarder.exchange.as_str(), consumer.exchange.as_str()), ("orders", "orders"));
        let same = read(&[("QUEUE_URL", "https://u:s3cret@host/api/exchanges/v%20h/orders/publish")], Role::Consumer);
        assert_eq!(same.unwrap().url.redacted(), "amqps://host/v%20h");
        for config in [forwarder, consumer] {
            assert!(!format!("{config:?}").contains("s3cret"));
        }
    }

    #[test]
    fn the_guides_settings_may_be_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("header");
        std::fs::write(&file, format!("{}\n", HEADER.1)).unwrap();
        let config = read(&[ENDPOINT, ("AmqpAuthHeader_FILE", file.to_str().unwrap())], Role::Forwarder).unwrap();
        assert_eq!(config.url.redacted(), ENDPOINT.1);
    }

    #[test]
    fn what_has_no_effect_beside_the_guides_settings_is_refused() {
        let with =
            |name, value| read(&[ENDPOINT, HEADER, (name, value)], Role::Forwarder).map_err(|error| error + "\n");
        let error = with("QUEUE_URL", "amqp://u:p@host").unwrap_err();
        assert_eq!(error.matches("has no effect, because QUEUE_URL is set").count(), 2, "{error}");
        assert!(with("QUEUE_EXCHANGE", "other").unwrap_err().contains("the queue's address names 'orders'"));
        with("QUEUE_EXCHANGE", "orders").unwrap();
        for (name, value) in [("QUEUE_DECLARE", "false"), ("QUEUE_MANAGEMENT_URL", "https://u:p@host")] {
            let error = with(name, value).unwrap_err();
            assert!(error.contains("published through the management API; remove it"), "{error}");
            read(&[ENDPOINT, HEADER, (name, value)], Role::Consumer).unwrap();
        }
        for (name, value) in [("QUEUE_NAME", "q"), ("QUEUE_TYPE", "quorum"), ("QUEUE_TTL", "1d")] {
            with(name, value).unwrap();
        }
    }

    #[test]
    fn a_queue_is_named_once() {
        let error = ladder("amqp://u:p@host/v", "sqlite:x.db amqp://u:other@host/v", Role::Forwarder).unwrap_err();
        assert_eq!(error, "QUEUE_FALLBACK_URLS: number 2 is a queue that was named before: amqp://host/v");
    }

    #[test]
    fn a_wrong_fallback_is_named_by_its_place_and_never_shown() {
        let error = ladder("sqlite:x.db", "amqp://u:p@host kafka:s3cret@host", Role::Forwarder).unwrap_err();
        assert!(error.contains("QUEUE_FALLBACK_URLS: number 2 must be an amqp://"), "{error}");
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn only_a_forwarder_has_fallbacks_and_a_function_none_on_a_disk() {
        let error = ladder("amqp://u:p@host", SQS, Role::Consumer).unwrap_err();
        assert!(error.contains("QUEUE_FALLBACK_URLS: has no effect on a consumer"), "{error}");
        let error = ladder("amqp://u:p@host", "sqlite:x.db", Role::Function).unwrap_err();
        assert!(error.contains("QUEUE_FALLBACK_URLS: number 1 is a sqlite: queue"), "{error}");
        ladder("amqp://u:p@host", "sqlite:x.db", Role::Forwarder).unwrap();
        let error = read(&[("QUEUE_FALLBACK_URLS", "sqlite:x.db")], Role::LocalForwarder).unwrap_err();
        assert!(error.contains("QUEUE_FALLBACK_URLS: is set, and QUEUE_URL is not"), "{error}");
    }

    #[test]
    fn sqs_needs_credentials_wherever_it_stands() {
        for queues in [[("QUEUE_URL", SQS), KEYS[0]], [("QUEUE_URL", SQS), KEYS[1]]] {
            let error = read(&queues, Role::Function).unwrap_err();
            assert!(error.starts_with("AWS_") && error.contains("is not set: an SQS queue needs"), "{error}");
        }
        let fallback = [("QUEUE_URL", "amqp://u:p@host"), ("QUEUE_FALLBACK_URLS", SQS)];
        let with = |keys: &[(&'static str, &'static str)]| read(&[&fallback, keys].concat(), Role::Function);
        assert!(with(&KEYS[..1]).unwrap_err().contains("AWS_SECRET_ACCESS_KEY: is not set"));
        assert!(matches!(with(&KEYS).unwrap().aws_credentials, Some(AwsCredentials::Keys { .. })));
        // The standard chain has others.
        assert_eq!(with(&[]).is_ok(), cfg!(feature = "aws_config"));
    }
}
