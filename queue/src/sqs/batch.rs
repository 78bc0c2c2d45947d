//! What an SQS event source hands to an AWS Lambda function, and what it wants to hear of it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::take::Taken;
use super::wire;
use super::{Undecodable, decode};
use crate::Event;

/// A batch of messages, as the function receives it.
#[derive(Clone, Debug, Deserialize)]
pub struct SqsBatch {
    /// The messages; those of a FIFO queue in the order of their groups.
    #[serde(rename = "Records")]
    pub records: Vec<SqsRecord>,
}

/// One message. Its debug print does not show its body.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsRecord {
    /// SQS's own id of the message, by which a failure names it.
    pub message_id: String,
    #[serde(default)]
    pub(super) receipt_handle: String,
    pub(super) body: String,
    #[serde(default)]
    pub(super) attributes: Facts,
    #[serde(default)]
    pub(super) message_attributes: BTreeMap<String, Attribute>,
    #[serde(default, rename = "eventSourceARN")]
    pub(super) source: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Facts {
    message_group_id: Option<String>,
    /// Only messages of a FIFO queue have one: others may have a group, and no order.
    sequence_number: Option<String>,
    approximate_receive_count: Option<String>,
    approximate_first_receive_timestamp: Option<String>,
    sent_timestamp: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attribute {
    data_type: String,
    string_value: Option<String>,
    binary_value: Option<String>,
}

/// The answer of a function whose event source has `ReportBatchItemFailures`: the messages that are to come again. SQS
/// deletes all the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsBatchResponse {
    /// In the order of the batch.
    pub batch_item_failures: Vec<SqsBatchItemFailure>,
}

/// One message that is to come again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsBatchItemFailure {
    /// SQS's own id of the message.
    pub item_identifier: String,
}

impl SqsBatch {
    /// The ids of all messages.
    pub fn ids(&self) -> Vec<String> {
        self.records.iter().map(|record| record.message_id.clone()).collect()
    }

    /// What must stay in order: a FIFO queue's groups. Any other message is on its own.
    pub fn sequences(self) -> Vec<Vec<SqsRecord>> {
        let mut sequences: Vec<Vec<SqsRecord>> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for record in self.records {
            let group = record.attributes.sequence_number.as_ref().and(record.attributes.message_group_id.clone());
            let next = sequences.len();
            let place = group.map_or(next, |group| *places.entry(group).or_insert(next));
            if place == next {
                sequences.push(Vec::new());
            }
            sequences[place].push(record);
        }
        sequences
    }
}

impl SqsRecord {
    /// The event in it.
    ///
    /// # Errors
    /// If it was not published by us.
    pub fn event(&self) -> Result<Event, Undecodable> {
        decode(&self.body)
    }

    /// As if it had been received from the queue.
    pub(super) fn into_taken(self) -> Taken {
        let Facts { message_group_id, approximate_receive_count, approximate_first_receive_timestamp, .. } =
            self.attributes;
        let attributes = self.message_attributes.into_iter().filter_map(|(name, attribute)| {
            let blob = attribute.binary_value.and_then(|text| STANDARD.decode(text).ok()).map(Blob::new);
            let value = MessageAttributeValue::builder().data_type(attribute.data_type);
            let value = value.set_string_value(attribute.string_value).set_binary_value(blob).build();
            Some((name, value.ok()?))
        });
        Taken {
            id: self.message_id,
            event: wire::decode(&self.body),
            attributes: attributes.collect(),
            body: self.body,
            handle: self.receipt_handle,
            receives: approximate_receive_count.and_then(|count| count.parse().ok()).unwrap_or(1),
            first_received: time(approximate_first_receive_timestamp),
            sent: time(self.attributes.sent_timestamp),
            group: message_group_id,
        }
    }
}

fn time(millis: Option<String>) -> SystemTime {
    let millis = millis.and_then(|millis| millis.parse().ok());
    millis.map_or_else(SystemTime::now, |millis| UNIX_EPOCH + Duration::from_millis(millis))
}

impl SqsBatchResponse {
    /// Says that these are to come again.
    pub fn failures(ids: impl IntoIterator<Item = String>) -> SqsBatchResponse {
        let failure = |item_identifier| SqsBatchItemFailure { item_identifier };
        SqsBatchResponse { batch_item_failures: ids.into_iter().map(failure).collect() }
    }
}

impl std::fmt::Debug for SqsRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SqsRecord { message_id, body, .. } = self;
        f.debug_struct("SqsRecord").field("id", message_id).field("body_bytes", &body.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, group: Option<&str>, sequence: Option<&str>) -> SqsRecord {
        let attributes = Facts {
            message_group_id: group.map(str::to_owned),
            sequence_number: sequence.map(str::to_owned),
            ..Facts::default()
        };
        SqsRecord {
            message_id: id.to_owned(),
            receipt_handle: String::new(),
            body: String::new(),
            attributes,
            message_attributes: BTreeMap::new(),
            source: String::new(),
        }
    }

    #[test]
    fn only_a_fifo_queue_has_an_order() {
        let ids = |records| -> Vec<String> {
            let sequence = |records: Vec<SqsRecord>| records.into_iter().map(|record| record.message_id).collect();
            SqsBatch { records }.sequences().into_iter().map(sequence).collect()
        };
        let fifo = [("1", "a"), ("2", "b"), ("3", "a")].map(|(id, group)| record(id, Some(group), Some("1")));
        assert_eq!(ids(fifo.into()), ["13", "2"]);
        let standard = [("1", Some("a")), ("2", None), ("3", Some("a"))].map(|(id, group)| record(id, group, None));
        assert_eq!(ids(standard.into()), ["1", "2", "3"]);
    }
}
