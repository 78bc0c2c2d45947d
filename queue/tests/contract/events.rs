//! What a subscriber receives equals what was published, field by field and byte for byte.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, TestRunner};
use proptest::{option, prop_oneof};
use webhook_queue::{Event, Http, IdOrigin, Publish, Publisher, Settlement, Subscriber, Verified};

use crate::full::full;
use crate::queue::{Queue, receive, soon};

const CASES: u32 = 64;

pub(crate) async fn what_is_received_equals_what_was_published<Q: Queue>() {
    let queue = Q::fresh().await;
    let (publisher, mut subscriber) = (queue.publisher(), queue.subscriber(10));
    for event in samples(publisher.max_body_bytes()) {
        round_trip::<Q>(&publisher, &mut subscriber, event).await;
    }
}

pub(crate) async fn arbitrary_events_are_received_as_published<Q: Queue>() {
    let queue = Q::fresh().await;
    let publisher = queue.publisher();
    let subscriber = std::cell::RefCell::new(queue.subscriber(10));
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        TestRunner::new(config)
            .run(&arbitrary(), |event| {
                runtime.block_on(round_trip::<Q>(&publisher, &mut subscriber.borrow_mut(), event));
                Ok(())
            })
            .unwrap();
    });
}

async fn round_trip<Q: Queue>(publisher: &Publisher, subscriber: &mut Subscriber, mut event: Event) {
    publisher.publish(&event, soon()).await.unwrap();
    let delivery = receive(subscriber).await;
    let received = delivery.event().clone();
    delivery.settle(Settlement::Ack).await.unwrap();
    event.received = Q::received(&event);
    assert!(received.body == event.body, "the body of {event:?}");
    assert_eq!(received.http, event.http);
    assert_eq!((received.time, received.received), (event.time, event.received));
    assert_eq!(received.attributes(), event.attributes());
    assert!(received == event, "{received:?} is not {event:?}");
}

/// With bodies of at most so many bytes.
fn samples(most: usize) -> Vec<Event> {
    let mut query_only = Event::new("e-conomic", "product-updated", "");
    query_only.http.query = "newnumber=33&oldnumber=33".to_owned();

    let every_byte = Event::new("shop", "bytes", (0..=255).collect::<Vec<u8>>());

    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    let large = Event::new("shop", "noise", noise.take(most.min(1024 * 1024)).collect::<Vec<u8>>());

    let mut headers = Event::new("shop", "headers", "{}");
    headers.http.headers = [("x-a", "1"), ("x-b", ""), ("x-a", "2"), ("x-a", "1"), ("x-name", "Ærø, ünï – \u{ff}")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    headers.http.query = "a=%2B&b=+&&c".to_owned();

    vec![query_only, every_byte, large, headers, full()]
}

fn arbitrary() -> impl Strategy<Value = Event> {
    let identity = ("[ -~]{1,128}", any::<bool>(), "[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,3}", "\\PC{1,60}", verified());
    let optional = (text(), text(), text(), text(), text());
    let request = ("[A-Z]{3,7}", "/\\PC{0,60}", "\\PC{0,200}", vec(("[a-z0-9-]{1,20}", "\\PC{0,80}"), 0..20));
    (identity, optional, request, time(), time(), any::<u32>(), vec(any::<u8>(), 0..4096)).prop_map(
        |(identity, optional, request, time, received, rung, body)| {
            let (id, provider, source, event_type, verified) = identity;
            let (subject, tenant, client, traceparent, tracestate) = optional;
            let (method, path, query, headers) = request;
            let id_origin = if provider { IdOrigin::Provider } else { IdOrigin::Forwarder };
            let http = Http { method, path, query, client, headers };
            let (body, id) = (body.into(), id.trim().to_owned());
            let id = if id.is_empty() { "-".to_owned() } else { id };
            Event {
                id,
                id_origin,
                source,
                event_type,
                time,
                subject,
                tenant,
                verified,
                received,
                rung,
                http,
                traceparent,
                tracestate,
                body,
            }
        },
    )
}

/// An absent text and an empty one are the same on the wire.
fn text() -> impl Strategy<Value = Option<String>> {
    option::of("\\PC{1,60}")
}

fn verified() -> impl Strategy<Value = Verified> {
    use Verified::{Address, Key, None, Signature, Token};
    prop_oneof![
        proptest::strategy::Just(None),
        proptest::strategy::Just(Address),
        proptest::strategy::Just(Key),
        proptest::strategy::Just(Token),
        proptest::strategy::Just(Signature)
    ]
}

/// To the microsecond, from 1970 to 2100.
fn time() -> impl Strategy<Value = SystemTime> {
    (0..4_102_444_800_000_000_u64).prop_map(|micros| UNIX_EPOCH + Duration::from_micros(micros))
}
