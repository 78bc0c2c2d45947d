//! One virtual host: where one test keeps its queues.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::management::Management;
use crate::node::{Ports, USER};

/// A virtual host of its own, with full permissions for the one user.
#[derive(Debug)]
pub struct Vhost {
    name: String,
    ports: Ports,
    management: Management,
}

impl Vhost {
    pub(crate) fn new(name: String, ports: Ports, management: Management) -> Vhost {
        Vhost { name, ports, management }
    }

    pub(crate) async fn create(&self) {
        let name = escaped(&self.name);
        self.must("PUT", &format!("vhosts/{name}"), None).await;
        let everything = json!({"configure": ".*", "write": ".*", "read": ".*"});
        self.must("PUT", &format!("permissions/{name}/{USER}"), Some(everything)).await;
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its broker speaks AMQP in plain text.
    pub fn amqp_addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.amqp).into()
    }

    /// Its address in plain text, with user and password.
    pub fn amqp_url(&self) -> String {
        self.amqp_url_via(self.amqp_addr())
    }

    /// As [`Vhost::amqp_url`], through another address: that of a [`crate::Proxy`].
    pub fn amqp_url_via(&self, addr: SocketAddr) -> String {
        format!("amqp://{USER}:{}@{addr}/{}", self.management.password, escaped(&self.name))
    }

    /// Its address in TLS, at `localhost`.
    pub fn amqps_url(&self) -> String {
        format!("amqps://{USER}:{}@localhost:{}/{}", self.management.password, self.ports.amqps, escaped(&self.name))
    }

    /// The address of the management API, with user and password.
    pub fn management_url(&self) -> String {
        format!("http://{USER}:{}@{}", self.management.password, self.management.addr)
    }

    /// Where the management API takes events for `e-conomic.direct`, with user and password.
    pub fn publish_url(&self) -> String {
        self.publish_url_via(self.management.addr)
    }

    /// As [`Vhost::publish_url`], through another address: that of a [`crate::Proxy`].
    pub fn publish_url_via(&self, addr: SocketAddr) -> String {
        let (login, vhost) = (format!("{USER}:{}", self.management.password), escaped(&self.name));
        format!("http://{login}@{addr}/api/exchanges/{vhost}/e-conomic.direct/publish")
    }

    /// As [`Vhost::publish_url`], in TLS, at `localhost`.
    pub fn publish_url_with_tls(&self) -> String {
        let addr = self.management.addr.to_string();
        let tls = format!("localhost:{}", self.ports.management_tls);
        self.publish_url().replacen("http://", "https://", 1).replacen(&addr, &tls, 1)
    }

    /// Status and body of a request to the management API; `path` is what follows `/api/`. The status is 0 while the
    /// broker cannot be reached.
    pub async fn api(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.management.call(method, path, body).await
    }

    /// Declares a durable queue. `arguments` is an object, or null for none.
    pub async fn declare_queue(&self, name: &str, arguments: Value) {
        let arguments = if arguments.is_null() { json!({}) } else { arguments };
        self.must("PUT", &self.path("queues", &[name]), Some(json!({"durable": true, "arguments": arguments}))).await;
    }

    /// Deletes a queue with all that is in it.
    pub async fn delete_queue(&self, name: &str) {
        self.must("DELETE", &self.path("queues", &[name]), None).await;
    }

    /// Declares a durable exchange.
    pub async fn declare_exchange(&self, name: &str, kind: &str) {
        self.must("PUT", &self.path("exchanges", &[name]), Some(json!({"type": kind, "durable": true}))).await;
    }

    /// Deletes an exchange.
    pub async fn delete_exchange(&self, name: &str) {
        self.must("DELETE", &self.path("exchanges", &[name]), None).await;
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&self, exchange: &str, queue: &str, key: &str) {
        let path = self.path("bindings", &["e", exchange, "q", queue]);
        self.must("POST", &path, Some(json!({"routing_key": key}))).await;
    }

    /// Removes a binding.
    pub async fn unbind(&self, exchange: &str, queue: &str, key: &str) {
        self.must("DELETE", &self.path("bindings", &["e", exchange, "q", queue, key]), None).await;
    }

    /// The definition and the figures of a queue, where it exists.
    pub async fn queue(&self, name: &str) -> Option<Value> {
        let (status, body) = self.api("GET", &self.path("queues", &[name]), None).await;
        (status == 200).then_some(body)
    }

    /// Publishes a persistent message (unless `properties` say otherwise) and says whether a queue took it.
    pub async fn publish(&self, exchange: &str, key: &str, mut properties: Value, payload: &[u8]) -> bool {
        if let Some(properties) = properties.as_object_mut() {
            properties.entry("delivery_mode").or_insert(json!(2));
        }
        let exchange = if exchange.is_empty() { "amq.default" } else { exchange };
        let message = json!({"properties": properties, "routing_key": key, "payload": STANDARD.encode(payload),
                             "payload_encoding": "base64"});
        self.must("POST", &self.path("exchanges", &[exchange, "publish"]), Some(message)).await["routed"] == true
    }

    /// Takes one message out of a queue: as the management API shows it, with its `payload` in base64.
    pub async fn get(&self, queue: &str) -> Option<Value> {
        let wanted = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "base64"});
        let mut messages = self.must("POST", &self.path("queues", &[queue, "get"]), Some(wanted)).await;
        messages.as_array_mut().and_then(Vec::pop)
    }

    fn path(&self, kind: &str, names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| escaped(name)).collect();
        format!("{kind}/{}/{}", escaped(&self.name), names.join("/"))
    }

    async fn must(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, body) = self.api(method, path, body).await;
        assert!((200..300).contains(&status), "{method} /api/{path}: {status} {body}");
        body
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
