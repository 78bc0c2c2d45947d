//! A forwarder, and a server that can prove to be the host of the region; messages that `openssl` signs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::HttpsServer;
use tokio::time::Instant;
use tower::ServiceExt;
use webhook_queue::http_client::{Connections, client_config};
use webhook_queue::{Env, Event, Publish, PublishError, Readiness};

use crate::config::ForwarderConfig;
use crate::service::Forwarder;
use crate::sources::proof::Proof;
use crate::sources::sns::message::Message;
use crate::sources::sns::{HTTPS, TopicCheck};

/// No test waits longer for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const TOPIC: &str = "arn:aws:sns:eu-north-1:123456789012:orders";
pub(super) const HOST: &str = "sns.eu-north-1.amazonaws.com";
pub(super) const CERTIFICATE: &str = "/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem";
pub(super) const CONFIRMATION: &str =
    "/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-north-1:123456789012:orders&Token=2336412f37fb";

/// `key.pem`, and `certificate.pem` of it.
pub(super) static SIGNER: LazyLock<TempDir> = LazyLock::new(|| signer(&["rsa:2048"]));

pub(super) fn signer(key: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-subj", "/CN=sns.amazonaws.com", "-newkey"])
        .args(key)
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    folder
}

pub(super) fn certificate(signer: &Path) -> Response<Full<Bytes>> {
    Response::new(Full::from(std::fs::read(signer.join("certificate.pem")).unwrap()))
}

pub(super) fn answer(status: u16, location: &str) -> Response<Full<Bytes>> {
    Response::builder().status(status).header("location", location).body(Full::default()).unwrap()
}

/// A message of this type with these fields changed, as it is sent.
pub(super) fn message(kind: &str, version: u8, changed: Value) -> Vec<u8> {
    let mut message = json!({
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "My First Message",
        "Message": "Hello world!",
        "Timestamp": "2012-05-02T00:54:06.655Z",
        "SignatureVersion": version.to_string(),
        "Signature": "",
        "SigningCertURL": format!("https://{HOST}{CERTIFICATE}"),
    });
    if kind != "Notification" {
        message["Token"] = json!("2336412f37fb");
        message["SubscribeURL"] = json!(format!("https://{HOST}{CONFIRMATION}"));
    }
    for (name, value) in changed.as_object().unwrap() {
        message[name] = value.clone();
    }
    let text = message.to_string();
    let (_, text) = serde_json::from_str::<Message<'_>>(&text).unwrap().signed_text().unwrap();
    message["Signature"] = json!(signature(&text, if version == 1 { "-sha1" } else { "-sha256" }));
    message.to_string().into_bytes()
}

pub(super) fn signature(text: &str, digest: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["dgst", digest, "-sign", "key.pem"])
        .current_dir(SIGNER.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    STANDARD.encode(openssl.wait_with_output().unwrap().stdout)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Queue(Arc<Mutex<Vec<Event>>>);

impl Publish for Queue {
    async fn publish(&self, event: &Event, _: Instant) -> Result<(), PublishError> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }

    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }

    fn max_body_bytes(&self) -> usize {
        usize::MAX
    }

    async fn close(&self) {}
}

/// A forwarder with the source `sns`, and what it takes for Amazon's server.
pub(super) struct Stage {
    pub(super) amazon: HttpsServer,
    pub(super) check: TopicCheck,
    queue: Queue,
    forwarder: Forwarder<Queue>,
}

impl Stage {
    /// With the certificate on the server.
    pub(super) async fn start() -> Stage {
        let stage = Stage::patient("2500ms").await;
        stage.amazon.put(CERTIFICATE, certificate(SIGNER.path()));
        stage
    }

    /// With nothing on the server.
    pub(super) async fn patient(publish_timeout: &str) -> Stage {
        let amazon = HttpsServer::start(HOST).await;
        let tls = client_config(Some(&amazon.ca_file())).unwrap();
        let address = amazon.address();
        let check = TopicCheck::connected(TOPIC, |host| Ok(Connections::new(host, HTTPS, Some(tls), 0)?.at(address)));
        let env = Env::from_pairs([("SOURCE_SNS_TOPIC", TOPIC), ("PUBLISH_TIMEOUT", publish_timeout)]);
        let mut config = ForwarderConfig::with_env(env).unwrap();
        let check = check.unwrap().unwrap();
        config.sources.all[0].proof = Proof::Topic(check.clone());
        let queue = Queue::default();
        let forwarder = Forwarder::new(&config, queue.clone());
        Stage { amazon, check, queue, forwarder }
    }

    pub(super) async fn send(&self, body: Vec<u8>) -> StatusCode {
        self.send_with("text/plain", body).await.0
    }

    /// Its header says what a raw message's does, where that is "true".
    pub(super) async fn send_with(&self, raw: &str, body: Vec<u8>) -> (StatusCode, Bytes) {
        let request = Request::post("/webhooks/sns").header("x-amz-sns-rawdelivery", raw).body(Full::from(body));
        let answer = self.forwarder.clone().oneshot(request.unwrap()).await.unwrap();
        (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.queue.0.lock().unwrap().clone()
    }

    /// Refuses the message, and has asked nobody for anything.
    pub(super) async fn assert_refused_unasked(&self, what: &str, body: Vec<u8>) {
        assert_eq!(self.send(body).await, StatusCode::UNAUTHORIZED, "{what}");
        assert_eq!((self.amazon.connections(), self.events().len()), (0, 0), "{what}");
    }
}
