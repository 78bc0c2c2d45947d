//! The three hosts, each with a queue of its own.

use std::net::SocketAddr;

use testbed::{AzureHost, Broker, LambdaApi, Mode, Version, Vhost, eventually};
use webhook_queue::{QueueConfig, QueueUrl, setup};

use crate::client::{Answer, exchange};
use crate::function::{Function, PROGRAM};
use crate::message::Message;
use crate::{KEY, PATIENCE};

const QUEUE: &str = "e-conomic-webhooks";

/// How a platform hands on the values of a header that was sent more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicates {
    Kept,
    Joined,
    /// Only the first, which is the emulator's way; Lambda itself joins them.
    First,
}

/// What a platform carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) duplicates: Duplicates,
    /// Header values beyond ASCII.
    pub(crate) utf8_headers: bool,
    /// Header values that are not even UTF-8.
    pub(crate) latin1_headers: bool,
    /// Bodies that are not UTF-8 although their content type is a text's. It is the emulator that cannot.
    pub(crate) binary_text: bool,
}

/// One host in front of the guide's topology.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) addr: SocketAddr,
    pub(crate) limits: Limits,
    vhost: Vhost,
    _platform: Platform,
}

#[expect(dead_code, reason = "held so that it goes on running")]
enum Platform {
    Standalone(Function),
    Lambda(LambdaApi, Function),
    Azure(AzureHost),
}

/// A virtual host with the guide's topology in it.
pub(crate) async fn queue() -> Vhost {
    let vhost = Broker::shared(Version::V3).await.vhost().await;
    setup(&QueueConfig::new(QueueUrl::parse(&vhost.amqp_url()).unwrap())).await.unwrap();
    vhost
}

/// The sources that every host has.
pub(crate) fn variables(queue_url: &str) -> Vec<(&'static str, String)> {
    let variables = [
        ("QUEUE_URL", queue_url),
        ("SOURCE_SHOP_OPEN", "yes"),
        ("SOURCE_E_CONOMIC_ACCESS_KEY", KEY),
        ("SOURCE_E_CONOMIC_PATH", "/api/WebhookForwarder"),
        ("SOURCE_NEAR_ALLOW_IPS", "127.0.0.1"),
        ("SOURCE_FAR_ALLOW_IPS", "203.0.113.9"),
        ("SOURCE_GITHUB_SIGNING_SECRET", KEY),
        ("MAX_BODY_BYTES", "2000000"),
    ];
    variables.map(|(name, value)| (name, value.to_owned())).into()
}

impl Host {
    pub(crate) async fn all() -> [Host; 3] {
        [Host::standalone().await, Host::lambda().await, Host::azure().await]
    }

    async fn standalone() -> Host {
        let vhost = queue().await;
        let mut variables = variables(&vhost.amqp_url());
        variables.push(("LISTEN", "127.0.0.1:0".to_owned()));
        let function = Function::start(variables);
        let line = function.line("listening on http://").await;
        let (_, addr) = line.split_once("http://").unwrap();
        let addr = addr.split_whitespace().next().unwrap().parse().unwrap();
        let limits =
            Limits { duplicates: Duplicates::Kept, utf8_headers: true, latin1_headers: true, binary_text: true };
        Host { name: "standalone", addr, limits, vhost, _platform: Platform::Standalone(function) }
    }

    async fn lambda() -> Host {
        let vhost = queue().await;
        let api = LambdaApi::start().await;
        let function = Function::start(api.variables().into_iter().chain(variables(&vhost.amqp_url())));
        let limits =
            Limits { duplicates: Duplicates::First, utf8_headers: true, latin1_headers: false, binary_text: false };
        Host { name: "lambda", addr: api.addr(), limits, vhost, _platform: Platform::Lambda(api, function) }
    }

    async fn azure() -> Host {
        let vhost = queue().await;
        let host = AzureHost::start(Mode::Proxying, PROGRAM, variables(&vhost.amqp_url())).await;
        let limits =
            Limits { duplicates: Duplicates::Joined, utf8_headers: false, latin1_headers: false, binary_text: true };
        Host { name: "azure", addr: host.addr(), limits, vhost, _platform: Platform::Azure(host) }
    }

    pub(crate) async fn exchange(&self, request: &[u8]) -> Answer {
        exchange(self.addr, request).await
    }

    /// Takes the next message off the queue.
    pub(crate) async fn message(&self) -> Message {
        message(&self.vhost).await
    }

    pub(crate) async fn has_no_message(&self) -> bool {
        self.vhost.get(QUEUE).await.is_none()
    }
}

/// Takes the next message off the queue of the guide.
pub(crate) async fn message(vhost: &Vhost) -> Message {
    Message::new(eventually("a message is on the queue", PATIENCE, async || vhost.get(QUEUE).await).await)
}

/// Takes every message off the queue of the guide.
pub(crate) async fn messages(vhost: &Vhost) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(message) = vhost.get(QUEUE).await {
        messages.push(Message::new(message));
    }
    messages
}
