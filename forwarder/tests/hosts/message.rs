//! What is on the queue, as a consumer of any language sees it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

pub(crate) struct Message {
    json: Value,
}

impl Message {
    pub(crate) fn new(json: Value) -> Message {
        Message { json }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        STANDARD.decode(self.json["payload"].as_str().unwrap()).unwrap()
    }

    /// A CloudEvents attribute, empty where it is absent.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.json["properties"]["headers"][format!("cloudEvents:{name}")].as_str().unwrap_or_default()
    }

    /// The values of a header of the request, in order.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let headers: Vec<(String, String)> = serde_json::from_str(self.attribute("httpheaders")).unwrap();
        headers.into_iter().filter(|(found, _)| found == name).map(|(_, value)| value).collect()
    }

    /// Everything but the body, as text.
    pub(crate) fn text(&self) -> String {
        self.json["properties"].to_string()
    }
}
