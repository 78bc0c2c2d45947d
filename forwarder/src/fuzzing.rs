//! Doors for this repository's fuzzer (`infra/fuzz`).

use webhook_queue::BoxError;

use crate::config::ForwarderConfig;

pub use crate::lambda::fuzzing::request_of_event;

/// Gives every source of Amazon SNS this certificate in PEM, at this path of the host of its region. It knows no other, and
/// nobody is asked for anything: whatever would take a question is answered 503.
pub fn without_amazon(config: &mut ForwarderConfig, path: &str, certificate: &[u8]) -> Result<(), BoxError> {
    config.sources.without_amazon(path, certificate)
}
