//! An event with everything that an event can have.

use std::time::Duration;

use webhook_queue::{Event, IdOrigin, Verified};

pub(crate) fn full() -> Event {
    let mut full = Event::new("shop", "order.created/v2", "x");
    full.id = "evt_1 \"quoted\" ~".to_owned();
    full.id_origin = IdOrigin::Provider;
    full.time = full.received - Duration::from_secs(3600);
    full.subject = Some("order/33".to_owned());
    full.tenant = Some("123456".to_owned());
    full.verified = Verified::Signature;
    full.rung = 2;
    full.http.path = "/webhooks/shop".to_owned();
    full.http.client = Some("2001:db8::1".to_owned());
    full.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    full.tracestate = Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE".to_owned());
    full
}
