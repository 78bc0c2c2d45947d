//! What the management API's answers mean for the event.

use serde_json::Value;

use crate::broker::Answer;
use crate::publish::PublishError;
use crate::topology::Topology;

/// A reason of the broker's may quote what it did not like; its first word does not.
const MAX_REASON_BYTES: usize = 40;
/// What RabbitMQ says of a request over its `management.http.max_body_size`.
const REQUEST_TOO_LARGE: &str = "Exceeded HTTP request body size limit";

/// What became of an event with a body of `body_bytes`.
pub(super) fn judge(
    answer: &Answer,
    topology: &Topology,
    vhost: &str,
    routing_key: &str,
    body_bytes: usize,
) -> Result<(), PublishError> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reason = body["reason"].as_str().unwrap_or_default();
    let exchange = &topology.exchange;
    let too_large = || PublishError::TooLarge { limit: body_bytes.saturating_sub(1) };
    Err(match answer.status {
        200 => match body["routed"].as_bool() {
            Some(true) => return Ok(()),
            // LavinMQ says so too when a queue is full.
            Some(false) => PublishError::Unroutable(format!(
                "no queue took it from exchange '{exchange}' with routing key '{routing_key}'"
            )),
            None => PublishError::Unreachable("who answered 200 is no management API: it does not say 'routed'".into()),
        },
        400 if reason.starts_with("rejected") => {
            PublishError::Refused("the broker said no (is the queue full?)".to_owned())
        }
        400 if reason.starts_with("confirm_timeout") => PublishError::TimedOut,
        400 if reason.starts_with(REQUEST_TOO_LARGE) || reason.contains("larger than") => too_large(),
        400 if reason.starts_with("404 NOT_FOUND") => {
            PublishError::Unroutable(format!("there is no exchange '{exchange}'"))
        }
        400 if reason.starts_with("403 ACCESS_REFUSED") => no_access(exchange),
        400 => PublishError::Refused(format!("the management API does not take the request ({})", word(&body))),
        401 => PublishError::Refused(answer.explain()),
        403 => no_access(exchange),
        404 => PublishError::Unroutable(match reason {
            "exchange_not_found" => format!("there is no exchange '{exchange}'"),
            "vhost_not_found" => format!("there is no virtual host '{vhost}'"),
            _ => format!("there is no exchange '{exchange}' in virtual host '{vhost}', or this user does not see it"),
        }),
        413 => too_large(),
        408 | 429 | 500.. => PublishError::Unreachable(answer.explain().into()),
        _ => PublishError::Refused(format!("{}: is the address right?", answer.explain())),
    })
}

fn no_access(exchange: &str) -> PublishError {
    PublishError::Refused(format!("the user may not write to exchange '{exchange}'"))
}

/// The first word of the broker's reason.
fn word(body: &Value) -> &str {
    let reason = body["reason"].as_str().or_else(|| body["reason"][0].as_str()).unwrap_or_default();
    let end =
        reason.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')).unwrap_or(reason.len());
    if end == 0 || end > MAX_REASON_BYTES { "no reason given" } else { &reason[..end] }
}
