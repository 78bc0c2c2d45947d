//! From an answer to the JSON that the platform makes a response of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};

use super::event::Origin;
use crate::query::readable;

/// The answer in the form that this origin understands.
pub(super) async fn write(origin: Origin, answer: Response<Full<Bytes>>) -> Value {
    let (head, body) = answer.into_parts();
    let Ok(body) = body.collect().await;
    let (body, is_base64) = match String::from_utf8(body.to_bytes().into()) {
        Ok(text) => (text, false),
        Err(bytes) => (STANDARD.encode(bytes.as_bytes()), true),
    };
    let mut single = Map::new();
    let mut several = Map::new();
    for name in head.headers.keys() {
        let values: Vec<String> = head.headers.get_all(name).iter().map(|value| readable(value.as_bytes())).collect();
        single.insert(name.as_str().to_owned(), values.join(", ").into());
        several.insert(name.as_str().to_owned(), values.into());
    }
    let mut response =
        json!({ "statusCode": head.status.as_u16(), "headers": single, "body": body, "isBase64Encoded": is_base64 });
    match origin {
        Origin::Http => response["cookies"] = json!([]),
        Origin::Rest => response["multiValueHeaders"] = several.into(),
        Origin::LoadBalancer => {
            // Which of the two it reads is a setting of its target group.
            response["multiValueHeaders"] = several.into();
            response["statusDescription"] = head.status.to_string().into();
        }
    }
    response
}
