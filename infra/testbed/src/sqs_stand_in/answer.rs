//! What is answered.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde_json::{Value, json};

pub(super) type Answer = Result<Value, Refusal>;

/// An error, as the protocol knows it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    /// A mistake of the caller.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status: 400, code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new("InvalidParameterValue", message)
    }

    /// What a test asks for.
    pub(super) fn wanted(status: u16, code: &'static str) -> Refusal {
        Refusal { status, code, message: "the test wants it so".to_owned() }
    }

    pub(super) fn unreadable() -> Refusal {
        Refusal::new("SerializationException", "the request cannot be read")
    }

    /// As one entry of a batch.
    pub(super) fn entry(&self, id: &Value) -> Value {
        json!({"Id": id, "Code": self.code, "Message": self.message, "SenderFault": self.status < 500})
    }
}

pub(super) fn given(body: &Value) -> Response<Full<Bytes>> {
    respond(200, body)
}

pub(super) fn refused(refusal: &Refusal) -> Response<Full<Bytes>> {
    let kind = format!("com.amazonaws.sqs#{}", refusal.code);
    respond(refusal.status, &json!({"__type": kind, "message": refusal.message}))
}

fn respond(status: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amzn-requestid", uuid::Uuid::now_v7().to_string())
        .body(Full::from(body.to_string()))
        .expect("an answer")
}
