//! Typed events as arguments of handlers, and what they make of whatever anybody sends.
#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

use proptest::prelude::*;
use serde_json::Value;
use webhook_consumer::providers::cloudevents::CloudEvent;
use webhook_consumer::providers::e_conomic::{Change, DayBookBooked, Entity, InventoryUpdated, InvoiceBooked};
use webhook_consumer::providers::ecovelo::Topic;
use webhook_consumer::providers::fatture_in_cloud::Notification;
use webhook_consumer::testing::{End, EventBuilder, Kit, event, fatture_in_cloud};
use webhook_consumer::{Event, Reason, Router};

fn kit() -> Kit {
    let router = Router::new()
        .on("e-conomic/*", async |_: Entity, _: Change| {})
        .on("ecovelo/*", async |_: Topic| {})
        .on("fatture-in-cloud/*", async |_: Notification| {})
        .on("cloudevents/*", async |_: CloudEvent<Value>| {});
    Kit::new(router).unwrap()
}

fn samples() -> [EventBuilder; 4] {
    [
        event("e-conomic/product-updated").form(&[("newnumber", "33"), ("oldnumber", "33")]),
        event("ecovelo/trip.terminated"),
        fatture_in_cloud("issued_documents.invoices.create", 108061, &[3062300]),
        event("cloudevents/t").cloud_event("/s", &()),
    ]
}

#[tokio::test]
async fn each_is_an_argument_of_handlers() {
    for sample in samples() {
        let sample = sample.build();
        assert_eq!(kit().deliver(sample.clone()).await.end, End::Acked, "{sample:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_dead_lettered_at_once() {
    for sample in samples() {
        let Event { source, .. } = sample.build();
        let trace = kit().deliver(event(&format!("{source}/webhook")).body("s3cret")).await;
        let End::DeadLettered(letter) = trace.end else { panic!("{source}: {:?}", trace.end) };
        assert_eq!((letter.reason, trace.attempts.len()), (Reason::Undecodable, 1), "{source}");
    }
}

/// Text that comes near to what is read.
fn near() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("newnumber"),
        Just("OLD"),
        Just("new_"),
        Just("number"),
        Just("invoiceno"),
        Just("book"),
        Just("="),
        Just("&"),
        Just("%"),
        Just("%C3%B8"),
        Just("%f8"),
        Just("+"),
        Just("33"),
        Just("[NEWNUMBER]"),
        Just("ø"),
        Just("\0"),
        Just("{"),
        Just("}"),
        Just("\"ids\":["),
        Just("]"),
        Just("\"data\":"),
        Just("\"specversion\":\"1.0\""),
        Just(","),
        Just("-1"),
        Just("18446744073709551616"),
        Just("1e999"),
        Just("\\ud800"),
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![near().prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..200)]
}

/// Reads it as everything that there is; the texts of what is refused hold nothing of it.
fn read_as_everything(event: &Event, mark: &str) {
    let errors = [
        Change::try_from(event).err(),
        Entity::try_from(event).err(),
        InvoiceBooked::try_from(event).err(),
        DayBookBooked::try_from(event).err(),
        InventoryUpdated::try_from(event).err(),
        Topic::try_from(event).err(),
        Notification::<u64>::try_from(event).err(),
        Notification::<String>::try_from(event).err(),
        CloudEvent::<Value>::try_from(event).err(),
        CloudEvent::<u8>::try_from(event).err(),
    ];
    for error in errors.into_iter().flatten() {
        assert!(!error.to_string().contains(mark), "{error}");
    }
}

const MARK: &str = "s3cret";

proptest! {
    #[test]
    fn whatever_is_sent_is_read_or_refused(query in near(), body in any_body(), kind in near(), value in near(), with_id: bool) {
        let mut event = event(&format!("any/{kind}")).query(&format!("{query}{MARK}"));
        if with_id {
            event = event.cloud_event("/s", &()).header("ce-other", &value).header("ce-subject", &value);
        }
        read_as_everything(&event.body([&body[..], MARK.as_bytes()].concat()).build(), MARK);
    }

    #[test]
    fn any_structured_event_is_read_or_refused(members in prop::collection::vec((near(), near()), 0..5), data in near()) {
        let mut body: serde_json::Map<String, Value> = members.into_iter().map(|(name, value)| (name, value.into())).collect();
        for name in ["id", "source", "type", "subject"] {
            body.insert(name.to_owned(), MARK.into());
        }
        body.insert("specversion".to_owned(), "1.0".into());
        body.insert("data".to_owned(), serde_json::from_str(&data).unwrap_or(Value::String(data)));
        read_as_everything(&event("any/t").json(&body).build(), MARK);
    }

    #[test]
    fn every_pair_of_numbers_arrives_as_it_was(old in "[ -~æøåÆØÅ]{0,12}", new in "[ -~æøåÆØÅ]{0,12}", in_query: bool) {
        let is_merge_field = |number: &str| number.trim().starts_with('[') && number.trim().ends_with(']');
        prop_assume!(!is_merge_field(&old) && !is_merge_field(&new));
        let built = event("e-conomic/product-updated").form(&[("oldnumber", &old), ("newnumber", &new)]).build();
        let built = if in_query {
            event("e-conomic/product-updated").query(std::str::from_utf8(&built.body).unwrap()).build()
        } else {
            built
        };
        prop_assert_eq!(Change::try_from(&built).ok(), Change::of(&old, &new));
    }

    #[test]
    fn every_attribute_of_a_cloud_event_arrives_as_it_was(subject in "\\PC{1,20}", data in any::<Option<i64>>()) {
        let built = event("s/t").subject(&subject).cloud_event("/s", &data).build();
        let read = CloudEvent::<Option<i64>>::try_from(&built).unwrap();
        prop_assert_eq!((read.subject, read.data), (Some(subject), data));
    }
}

#[test]
fn large_bodies_take_no_longer_than_their_length_asks_for() {
    let many_pairs = "newnumber=33&".repeat(500_000);
    let no_pairs = "&".repeat(6_000_000);
    let deep = "[".repeat(6_000_000);
    for body in [many_pairs, no_pairs, deep] {
        read_as_everything(&event("any/t").body(body).build(), MARK);
    }
}
