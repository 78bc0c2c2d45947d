//! The event of the golden files, which every wire writes in its own way.

use std::time::{Duration, UNIX_EPOCH};

use crate::event::{Event, IdOrigin, Verified};

pub(crate) fn event() -> Event {
    let mut event = Event::new("e-conomic", "product-updated", r#"{"number":33}"#);
    event.id = "evt-1".to_owned();
    event.id_origin = IdOrigin::Provider;
    event.received = UNIX_EPOCH + Duration::from_micros(1_770_087_906_123_456);
    event.time = event.received;
    event.subject = Some("33".to_owned());
    event.tenant = Some("123456".to_owned());
    event.verified = Verified::Signature;
    event.http.path = "/webhooks/e-conomic/product-updated".to_owned();
    event.http.query = "a=%2B&b=+&&c".to_owned();
    event.http.client = Some("203.0.113.7".to_owned());
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "identity"),
        ("x-twice", "1"),
        ("x-twice", "blåbær"),
    ];
    event.http.headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    event.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    event.tracestate = Some("vendor=1".to_owned());
    event
}
