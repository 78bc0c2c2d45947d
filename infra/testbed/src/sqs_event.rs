//! What an SQS event source hands to a function, as AWS documents it.

use serde_json::{Value, json};

/// The documented event of a `standard` or a `fifo` queue.
///
/// # Panics
/// If there is no such kind of queue.
pub fn documented(kind: &str) -> Value {
    let fixture = match kind {
        "standard" => include_str!("sqs_event/standard.json"),
        "fifo" => include_str!("sqs_event/fifo.json"),
        other => panic!("there is no {other} queue"),
    };
    let mut fixture: Value = serde_json::from_str(fixture).expect("the fixture is JSON");
    assert!(fixture["source"][0].as_str().is_some_and(|source| source.starts_with("https://docs.aws.amazon.com/")));
    fixture["event"].take()
}

/// The documented event with a record for each of these: message id, group, body.
pub fn batch(kind: &str, messages: &[(&str, &str, &str)]) -> Value {
    let mut event = documented(kind);
    let record = event["Records"][0].take();
    let records = messages.iter().map(|(id, group, body)| {
        let mut record = record.clone();
        (record["messageId"], record["body"]) = (json!(id), json!(body));
        if record["attributes"].get("SequenceNumber").is_some() {
            record["attributes"]["MessageGroupId"] = json!(group);
        }
        record
    });
    event["Records"] = records.collect();
    event
}

/// The answer that reports these messages.
pub fn failures(ids: &[&str]) -> Value {
    let failures: Vec<Value> = ids.iter().map(|id| json!({"itemIdentifier": id})).collect();
    json!({"batchItemFailures": failures})
}
