//! The fuzzer's door to this wire.

use super::wire;
use crate::BoxError;
use crate::event::Event;

/// The event, read from its message.
pub(crate) fn round_trip(event: &Event) -> Result<Event, BoxError> {
    let message = wire::encode(event);
    // SQS replaces any other character, and refuses other names of groups.
    if !message.chars().all(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)) {
        return Err("the message has a character that SQS does not carry".into());
    }
    let group = wire::group(event);
    if group.is_empty() || group.len() > 128 || !group.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the message's group is no name of one".into());
    }
    Ok(wire::decode(&message)?)
}
