//! What the Azure Functions host is told in `infra/azure/app`.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

fn app() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../azure/app")
}

fn read(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(app().join(path)).unwrap()).unwrap()
}

/// The host's proxying mode is for functions of this form only: one HTTP request in, one HTTP answer out.
fn trigger(function: &str) -> Value {
    let bindings = read(&format!("{function}/function.json"))["bindings"].clone();
    let bindings = bindings.as_array().unwrap();
    let forms: Vec<_> = bindings.iter().map(|binding| (&binding["type"], &binding["direction"])).collect();
    assert_eq!(forms, [(&json!("httpTrigger"), &json!("in")), (&json!("http"), &json!("out"))], "{function}");
    bindings[0].clone()
}

#[test]
fn the_host_hands_requests_over_as_they_are() {
    let handler = &read("host.json")["customHandler"];
    assert_eq!(handler["enableProxyingHttpRequest"], true);
    assert_eq!(handler["enableForwardingHttpRequest"], Value::Null);
    assert_eq!(handler["description"]["defaultExecutablePath"], "webhook-forwarder");
}

#[test]
fn the_host_refuses_nothing_by_itself() {
    let http = &read("host.json")["extensions"]["http"];
    let limits = ["maxOutstandingRequests", "maxConcurrentRequests", "dynamicThrottlesEnabled"].map(|name| &http[name]);
    assert_eq!(limits, [&json!(-1), &json!(-1), &json!(false)]);
}

#[test]
fn every_path_of_the_forwarder_is_a_function() {
    assert_eq!(read("host.json")["extensions"]["http"]["routePrefix"], "api");
    let folders = std::fs::read_dir(app()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let mut functions: Vec<String> = folders.map(|folder| folder.file_name().into_string().unwrap()).collect();
    functions.sort();
    assert_eq!(functions, ["WebhookForwarder", "readyz", "webhooks"]);
    let routes = functions.iter().map(|function| trigger(function)["route"].clone()).collect::<Vec<_>>();
    assert_eq!(routes, ["WebhookForwarder", "readyz", "webhooks/{*rest}"]);
}

#[test]
fn webhooks_need_a_key_and_may_begin_with_a_handshake() {
    for function in ["WebhookForwarder", "webhooks"] {
        let trigger = trigger(function);
        assert_eq!(trigger["authLevel"], "function", "{function}");
        assert_eq!(trigger["methods"], json!(["get", "post", "options"]), "{function}");
    }
}
