//! What is secret, and what a webhook says, is nowhere to be read: in no log, no answer, no error, no debug print, and in
//! no list of processes. The queue alone has the webhooks.

mod canaries;
mod consumer;
mod webhooks;

use std::path::Path;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testbed::{Broker, Moto, Version, Vhost};
use webhook_consumer::{Consumer, Env};
use webhook_forwarder::{ForwarderConfig, Publisher};

use self::canaries::Canaries;
use self::consumer::Consuming;
use self::webhooks::{requests, sources};
use crate::process::{Forwarder, exchange, post, run, status};

/// Everything that somebody may get to read.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    fn note(&mut self, place: &str, text: impl Into<String>) {
        self.0.push((place.to_owned(), text.into()));
    }

    fn output(&mut self, place: &str, output: &Output) {
        let Output { stdout, stderr, status } = output;
        self.note(place, format!("{status} {} {}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr)));
    }

    fn assert_without(&self, secrets: &Canaries) {
        for (place, text) in &self.0 {
            secrets.assert_absent(place, text);
        }
    }
}

type Variables = Vec<(&'static str, String)>;

fn borrowed(variables: &Variables) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// A user of the broker with a password of its own, as it stands in an address.
async fn login(vhost: &Vhost, name: &str, password: &str) -> String {
    let user = format!("{name}-{}", vhost.name());
    let account = json!({ "password": password, "tags": "administrator" });
    let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    let permissions = format!("permissions/{}/{user}", vhost.name());
    for (path, body) in [(format!("users/{user}"), account), (permissions, everything)] {
        assert!(matches!(vhost.api("PUT", &path, Some(body)).await.0, 201 | 204));
    }
    format!("{user}:{password}")
}

/// The same address as another user.
fn with_login(url: &str, login: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    format!("{scheme}://{login}@{}", rest.split_once('@').unwrap().1)
}

/// What `ps` can show of every process and thread.
fn processes() -> String {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let text = |file: &Path| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).replace('\0', " ");
    let mut shown = String::new();
    for process in entries(Path::new("/proc")).filter(|path| path.join("cmdline").exists()) {
        shown += &format!("{}\n{}\n", text(&process.join("cmdline")), text(&process.join("comm")));
        for thread in entries(&process.join("task")) {
            shown += &text(&thread.join("comm"));
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn serving_and_consuming_tell_nothing() {
    let (mut secrets, mut said) = (Canaries::default(), Said::default());
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    let amqp = with_login(&vhost.amqp_url(), &login(&vhost, "amqp", &secrets.of("AmqpPassword")).await);
    let management = login(&vhost, "management", &secrets.of("ManagementPassword")).await;
    let moto = Moto::shared().await;
    let mut queue: Variables = vec![
        ("QUEUE_URL", amqp),
        ("QUEUE_MANAGEMENT_URL", with_login(&vhost.management_url(), &management)),
        (
            "QUEUE_FALLBACK_URLS",
            format!("{} {}", with_login(&vhost.publish_url(), &management), moto.absent_queue(false).url()),
        ),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secrets.of("AwsKey")),
        ("AWS_SESSION_TOKEN", secrets.of("AwsToken")),
        ("RUST_LOG", "trace".to_owned()),
    ];
    let sources = sources(&mut secrets);
    let (taken, requests) = requests(&sources, &mut secrets);
    let all = [queue.clone(), sources.clone(), vec![("MAX_BODY_BYTES", "1000".to_owned())]].concat();
    let mut forwarder = Forwarder::start(&borrowed(&all));
    forwarder.wait_for_line("receiving at");

    for request in &requests[..taken] {
        let answer = exchange(forwarder.connect(), request);
        assert_eq!(status(&answer), 503, "{answer}");
        said.note("an answer", answer);
    }
    for command in ["check", "setup", "check"] {
        said.output(command, &run(&[command], &borrowed(&queue)));
    }
    for (index, request) in requests.iter().enumerate() {
        let answer = exchange(forwarder.connect(), request);
        assert_eq!(index < taken, answer.contains(r#"{"id":""#), "{}: {answer}", String::from_utf8_lossy(request));
        said.note("an answer", answer);
    }

    queue.retain(|(name, _)| matches!(*name, "QUEUE_URL" | "QUEUE_MANAGEMENT_URL"));
    let consuming = Consuming::start(&queue);
    consuming.wait_for("the handler panicked").await;
    let processes = processes();
    assert!(processes.contains("webhook-forwarder") && processes.contains("secrets::consumer"), "{processes}");
    said.note("the list of processes", processes);
    said.note("the consumer's output", consuming.end().await);
    forwarder.signal("TERM");
    let (_, log) = forwarder.wait();
    assert!(log.contains("TRACE") && log.contains("webhook taken") && log.contains("webhook refused"), "{log}");
    said.note("the forwarder's output", log);
    said.assert_without(&secrets);
}

#[tokio::test(flavor = "multi_thread")]
async fn consuming_from_sqs_tells_nothing() {
    let (mut secrets, mut said) = (Canaries::default(), Said::default());
    let sqs = Moto::shared().await.absent_queue(false);
    let queue: Variables = vec![
        ("QUEUE_URL", sqs.url()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secrets.of("AwsKey")),
        ("AWS_SESSION_TOKEN", secrets.of("AwsToken")),
    ];
    let (key, body) = (secrets.of("Key"), secrets.of("Body"));
    assert!(run(&["setup"], &borrowed(&queue)).status.success());
    let source = vec![("SOURCE_E_CONOMIC_ACCESS_KEY", key.clone())];
    let mut forwarder = Forwarder::start(&borrowed(&[queue.clone(), source].concat()));
    forwarder.wait_for_line("receiving at");
    for event_type in ["t", "fails", "undecodable", "panics"] {
        let request = post(&format!("/webhooks/e-conomic/{event_type}?key={key}"), b"", body.as_bytes());
        assert_eq!(status(&exchange(forwarder.connect(), &request)), 200);
    }
    forwarder.signal("TERM");
    forwarder.wait();

    let consuming = Consuming::start(&queue);
    consuming.wait_for("the event is dead-lettered").await;
    consuming.wait_for("the handler panicked").await;
    let log = consuming.end().await;
    assert!(log.contains("TRACE") && log.contains("aws_smithy_runtime"), "{log}");
    said.note("the consumer's output", log);
    said.assert_without(&secrets);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_a_queue_is_told_without_its_password() {
    let (mut secrets, mut said) = (Canaries::default(), Said::default());
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    let sqs = Moto::shared().await.queue(false, json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{content}\n")).unwrap();
        path.display().to_string()
    };
    let wrong = ["AmqpPassword", "ManagementPassword"].map(|name| format!("nobody:{}", secrets.of(name)));
    let fallbacks = format!("{} {}", with_login(&vhost.amqp_url(), &wrong[0]), sqs.url());
    let publish_url = vhost.publish_url();
    let (_, endpoint) = publish_url.split_once('@').unwrap();
    let key = secrets.of("Key");
    let aws = [
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secrets.of("AwsKey")),
        ("LOG_FORMAT", "json".to_owned()),
        ("RUST_LOG", "trace".to_owned()),
    ];
    let guide = [
        ("AmqpEndpoint", format!("http://{endpoint}")),
        ("AmqpAuthHeader_FILE", file("header", &STANDARD.encode(&wrong[1]))),
        ("QUEUE_FALLBACK_URLS_FILE", file("fallbacks", &fallbacks)),
    ];
    let source = [("QUEUE_URL", String::new()), ("SOURCE_E_CONOMIC_ACCESS_KEY_FILE", file("key", &key))];
    let queues = [&aws[..], &guide].concat();

    let mut forwarder = Forwarder::start(&borrowed(&[&queues[..], &source].concat()));
    let webhook = post(&format!("/webhooks/e-conomic?key={key}"), b"", secrets.of("Body").as_bytes());
    let answer = exchange(forwarder.connect(), &webhook);
    assert_eq!(status(&answer), 200, "{answer}");
    said.note("an answer", answer);
    forwarder.wait_for_line("refuses the user or password");
    forwarder.signal("TERM");
    said.note("the forwarder's output", forwarder.wait().1);
    for command in ["check", "setup", "drain"] {
        let output = run(&[command], &borrowed(&queues));
        assert_eq!(output.status.code(), Some(1), "{command}");
        said.output(command, &output);
    }

    let login = login(&vhost, "drain", &secrets.of("RightPassword")).await;
    let right = [("QUEUE_URL", with_login(&vhost.amqp_url(), &login)), ("QUEUE_FALLBACK_URLS", sqs.url())];
    for command in ["setup", "drain"] {
        let output = run(&[command], &borrowed(&[&aws[..], &right].concat()));
        assert!(output.status.success(), "{command}");
        said.output(command, &output);
    }
    assert_eq!(sqs.count().await, 0);
    said.assert_without(&secrets);
}

#[test]
fn a_wrong_value_is_not_repeated() {
    let (mut secrets, mut said) = (Canaries::default(), Said::default());
    let canary = secrets.of("Value");
    let (short, no_colon) = (canary[..20].to_owned(), STANDARD.encode(&canary));
    secrets.add("ShortValue", &short);
    secrets.add("Header", &no_colon);
    let endpoint = "https://host/api/exchanges/v/e/publish";
    let queues = [
        canary.clone(),
        format!("{canary}:{canary}"),
        format!("user:{canary}@host"),
        format!("amqp:user:{canary}@host"),
        format!("amqps://us er:{canary}@[host/v"),
        format!("amqps://user:{canary}@host:99999/v"),
        format!("amqps://user:{canary}%zz@host/v"),
        format!("https://user:{canary}@host/{canary}"),
        format!("https://user:{canary}?@host/api/exchanges/v/e/publish"),
        format!("https://user:{canary}%ff@host/api/exchanges/v/e/publish"),
        format!("https://user:{canary}@host/api/exchanges/v/amq.{canary}/publish"),
        format!("sqs+http://user:{canary}@host/1"),
    ];
    let mut wrong = vec![
        ("QUEUE_MANAGEMENT_URL", vec![format!("user:{canary}@host")]),
        ("QUEUE_FALLBACK_URLS", queues.iter().map(|url| url.replace(' ', "")).collect()),
        ("AmqpEndpoint", queues[7..].to_vec()),
        ("AmqpAuthHeader", vec![canary.clone(), no_colon, format!("Basic {canary} {canary}")]),
        ("SOURCE_STANDARD_WEBHOOKS_SIGNING_SECRET", vec![format!("whsec_{canary}!"), format!("whpk_{canary}!")]),
        ("SOURCE_STANDARD_WEBHOOKS_PUBLIC_KEY", vec![canary.clone(), format!("whpk_{canary}")]),
        ("SOURCE_FATTURE_IN_CLOUD_PUBLIC_KEY", vec![canary.clone()]),
        ("SOURCE_FATTURE_IN_CLOUD_URL", vec![canary.clone(), format!("https://{canary} {canary}")]),
        ("SOURCE_E_CONOMIC_SIGNING_SECRET", vec![canary.clone()]),
        ("SOURCE_GITHUB_VERIFY_TOKEN", vec![canary.clone()]),
        ("SOURCE_GITHUB_ACESS_KEY", vec![canary.clone()]),
        ("SOURCE_TWILIO_URL", vec![canary.clone()]),
        ("SOURCE_META_VERIFY_TOKEN", vec![canary.clone()]),
        ("SOURCE_SHOP_OPEN", vec![canary.clone()]),
        ("SOURCE_SHOP_ACCESS_KEY_FILE", vec![canary.clone()]),
        ("SOURCE_SHOP_MASTER_KEY", vec![short]),
    ];
    wrong.push(("QUEUE_URL", queues.to_vec()));
    for (name, values) in wrong {
        for value in values {
            let mut variables = vec![("RUST_LOG", "trace"), (name, &value)];
            match name {
                "AmqpEndpoint" => variables.push(("AmqpAuthHeader", "dXNlcjpw")),
                "AmqpAuthHeader" => variables.push(("AmqpEndpoint", endpoint)),
                _ => {}
            }
            let output = run(&[], &variables);
            assert_eq!(output.status.code(), Some(2), "{name}");
            said.output(name, &output);
        }
    }
    said.assert_without(&secrets);
}

#[tokio::test]
async fn a_debug_print_shows_nothing() {
    let mut secrets = Canaries::default();
    let password = ["Amqp", "Management", "Publish"].map(|name| secrets.of(name));
    let publish_url = format!("https://user:{}@host/api/exchanges/v/e/publish", password[2]);
    let queue: Variables = vec![
        ("QUEUE_URL", format!("amqp://user:{}@host/v", password[0])),
        ("QUEUE_MANAGEMENT_URL", format!("https://user:{}@host", password[1])),
        ("QUEUE_FALLBACK_URLS", format!("{publish_url} https://sqs.eu-north-1.amazonaws.com/123456789012/hooks")),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secrets.of("AwsKey")),
        ("AWS_SESSION_TOKEN", secrets.of("AwsToken")),
    ];
    let sources = sources(&mut secrets);
    let env = || Env::from_pairs([queue.clone(), sources.clone()].concat());
    let config = ForwarderConfig::with_env(env()).unwrap();
    let publisher = Publisher::open(&config.queue).unwrap();
    let forwarder = webhook_forwarder::Forwarder::new(&config, publisher.clone());
    let guide = [
        ("AmqpEndpoint", publish_url.replace(&format!("user:{}@", password[2]), "")),
        ("AmqpAuthHeader", STANDARD.encode(format!("user:{}", password[2]))),
    ];
    let guide = ForwarderConfig::queue_with_env(Env::from_pairs(guide)).unwrap();
    let consumer = Consumer::with_env(Env::from_pairs(
        queue.clone().into_iter().filter(|(name, _)| *name != "QUEUE_FALLBACK_URLS" && !name.starts_with("AWS")),
    ))
    .unwrap();
    secrets.assert_absent(
        "a debug print",
        &format!("{config:?}{config:#?}{publisher:?}{forwarder:?}{guide:?}{consumer:?}{:?}", env()),
    );
}
