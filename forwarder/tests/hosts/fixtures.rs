//! Events as the documentation of the platforms shows them, through the real runtime loop.

use serde_json::{Value, json};
use testbed::{LambdaApi, Vhost};

use crate::function::Function;
use crate::message::Message;
use crate::stage::{message, queue, variables};

/// The fixtures' own paths, as sources.
const PATHS: [(&str, &str); 3] = [("DOCS", "/my/path"), ("HELLO", "/hello/world"), ("CONSOLE", "/myPath")];

struct Stage {
    vhost: Vhost,
    api: LambdaApi,
    _function: Function,
}

impl Stage {
    async fn set() -> Stage {
        let vhost = queue().await;
        let api = LambdaApi::start().await;
        let mut variables: Vec<(String, String)> =
            variables(&vhost.amqp_url()).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        variables.extend(api.variables().into_iter().map(|(name, value)| (name.to_owned(), value)));
        for (name, path) in PATHS {
            variables.push((format!("SOURCE_{name}_OPEN"), "yes".to_owned()));
            variables.push((format!("SOURCE_{name}_PATH"), path.to_owned()));
        }
        Stage { vhost, api, _function: Function::start(variables) }
    }

    /// Invokes the function with a fixture, changed at these places, and takes the event off the queue.
    async fn event(&self, fixture: &str, changes: &[(&str, &str)]) -> (Value, Message) {
        let path = format!("{}/tests/hosts/fixtures/{fixture}.json", env!("CARGO_MANIFEST_DIR"));
        let mut fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(fixture["source"][0].as_str().unwrap().starts_with("https://"));
        let mut event = fixture["event"].take();
        for (pointer, value) in changes {
            *event.pointer_mut(pointer).unwrap() = json!(value);
        }
        let answer = self.api.invoke(event.to_string().as_bytes()).await.unwrap();
        assert_eq!(answer["statusCode"], 200, "{answer}");
        let message = message(&self.vhost).await;
        assert!(answer["body"].as_str().unwrap().contains(message.attribute("id")));
        (answer, message)
    }
}

/// Source, method, path, query, client and body of an event.
fn facts(message: &Message) -> [String; 6] {
    let [source, method, path, query, client] =
        ["source", "httpmethod", "httppath", "httpquery", "httpclient"].map(|name| message.attribute(name).to_owned());
    [source, method, path, query, client, String::from_utf8(message.body()).unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_events_become_the_requests_that_they_stand_for() {
    let stage = Stage::set().await;

    let (answer, event) = stage.event("function-url", &[]).await;
    let query = "parameter1=value1&parameter1=value2&parameter2=value";
    assert_eq!(facts(&event), ["docs", "POST", "/my/path", query, "123.123.123.123", "Hello from client!"]);
    assert_eq!(event.header("header2"), ["value1,value2"]);
    assert_eq!(answer["headers"]["content-type"], "application/json");

    let (_, event) = stage.event("http-api", &[]).await;
    assert_eq!(facts(&event), ["docs", "POST", "/my/path", query, "", "Hello from Lambda"]);
    assert_eq!((event.header("header1"), event.header("cookie")), (vec!["value1".to_owned()], vec![]));

    let (_, event) = stage.event("http-api-with-stage", &[]).await;
    assert_eq!(facts(&event), ["docs", "POST", "/my/path", query, "", "Hello from Lambda"]);

    let decoded = [("/rawPath", "/webhooks/shop/with space, 100% and ?#æ%2F")];
    let (_, event) = stage.event("http-api-decoded-path", &decoded).await;
    assert_eq!(event.attribute("httppath"), "/webhooks/shop/with%20space,%20100%25%20and%20%3F%23%C3%A6%2F");
    assert_eq!(event.attribute("type"), "with space, 100% and ?#æ/");

    let (answer, event) = stage.event("http-api-format-1", &[("/httpMethod", "POST")]).await;
    assert_eq!(facts(&event), ["docs", "POST", "/my/path", query, "192.0.2.1", "Hello from Lambda!"]);
    assert_eq!(event.header("header2"), ["value1", "value2"]);
    assert_eq!(answer["multiValueHeaders"]["content-type"], json!(["application/json"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_apis_and_load_balancers_are_read_the_same_way() {
    let stage = Stage::set().await;
    let body = "{\r\n\t\"a\": 1\r\n}";

    let (answer, event) = stage.event("rest-api", &[]).await;
    let query = "multiValueName=you&multiValueName=me&name=me";
    assert_eq!(facts(&event), ["hello", "POST", "/hello/world", query, "192.168.196.186", body]);
    assert_eq!(event.header("headername"), ["headerValue"]);
    assert_eq!(answer["multiValueHeaders"]["content-type"], json!(["application/json"]));

    let odd = [("/multiValueQueryStringParameters/name/0", "a b&c=æ+"), ("/requestContext/stage", "hello")];
    let (_, event) = stage.event("rest-api", &odd).await;
    assert_eq!(event.attribute("httpquery"), "multiValueName=you&multiValueName=me&name=a%20b%26c%3D%C3%A6%2B");

    let (_, event) = stage.event("rest-api-from-the-console", &[]).await;
    assert_eq!(facts(&event), ["console", "POST", "/myPath", "", "", body]);

    let to_shop = [("/httpMethod", "POST"), ("/path", "/webhooks/shop/order%2Fpaid")];
    let (answer, event) = stage.event("load-balancer", &to_shop).await;
    let [path, client] = ["/webhooks/shop/order%2Fpaid", "25.12.198.67"];
    assert_eq!(facts(&event), ["shop", "POST", path, "", client, ""]);
    assert_eq!((event.attribute("type"), event.header("x-myheader")), ("order/paid", vec!["123".to_owned()]));
    assert_eq!(answer["statusDescription"], "200 OK");

    let (_, event) = stage.event("load-balancer-multi-value", &to_shop).await;
    assert_eq!(facts(&event), ["shop", "POST", path, "", "72.21.198.67", "Some text"]);

    let (_, event) = stage.event("load-balancer-encoded-query", &to_shop).await;
    let query = "myKey=%3FshowAll%3Dtrue&myKey=%3FshowAll%3Dfalse";
    assert_eq!(facts(&event), ["shop", "POST", path, query, "72.21.198.66", "request_body"]);
}
