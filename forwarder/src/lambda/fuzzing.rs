//! A door for this repository's fuzzer (`infra/fuzz`).

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::event::HttpEvent;

/// The request that an event stands for, if it stands for one and can be read.
pub fn request_of_event(json: &str) -> Option<Request<Full<Bytes>>> {
    HttpEvent::read(json).ok()?.into_request().ok()
}
