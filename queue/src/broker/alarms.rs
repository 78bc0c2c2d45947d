//! Memory and disk alarms, under which a broker stops reading from everybody who publishes over AMQP, in the whole
//! cluster. The management API publishes on: whoever uses it has to ask.

use serde_json::Value;

use super::Answer;

/// Where the management API tells.
pub(crate) const ALARMS: [&str; 3] = ["health", "checks", "alarms"];

/// What the broker says of its alarms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Alarms {
    None,
    /// One is in effect, on these resources.
    InEffect(String),
    /// Not to this user, or not at all (LavinMQ).
    NotTold,
}

impl Alarms {
    /// The answer to a question at [`ALARMS`].
    pub(crate) fn read(answer: &Answer) -> Alarms {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, body["status"].as_str()) {
            (200, Some("ok")) => Alarms::None,
            (503, Some("failed")) => {
                let alarms = body["alarms"].as_array().into_iter().flatten();
                let mut resources: Vec<&str> = alarms.filter_map(|alarm| alarm["resource"].as_str()).collect();
                resources.sort_unstable();
                resources.dedup();
                Alarms::InEffect(format!("an alarm is in effect ({})", resources.join(", ")))
            }
            _ => Alarms::NotTold,
        }
    }
}
