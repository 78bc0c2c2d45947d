//! What the Azure Functions host says about the requests that it hands to a custom handler.

use http::HeaderMap;
use http::header::USER_AGENT;
use tokio::time::Instant;

use crate::client;
use crate::service::Arrival;

/// The host sets it, whatever the caller sent. When a hand-over fails, the host makes another with the same one.
const INVOCATION_ID: &str = "x-azure-functions-invocationid";
/// What an event's id may be.
const MAX_ID_BYTES: usize = 128;
/// The host puts this at the end of `User-Agent` when it does not proxy a request but makes one of its own
/// (`enableForwardingHttpRequest`), into which it copies no body that came without a length.
const FORWARDED: &[u8] = b"Azure-Functions-Host/";

pub(super) fn arrival(headers: &HeaderMap, began: Instant) -> Arrival {
    Arrival {
        began,
        id: invocation_id(headers),
        loses_bodies: is_forwarded(headers),
        ..Arrival::now(client::at_the_front(headers))
    }
}

fn invocation_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(INVOCATION_ID)?.to_str().ok()?;
    let is_sane = !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_sane.then(|| id.to_owned())
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    let Some(agent) = headers.get_all(USER_AGENT).iter().next_back() else { return false };
    let last_word = agent.as_bytes().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    last_word.starts_with(FORWARDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Arrival {
        let headers = pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        arrival(&headers.collect(), Instant::now())
    }

    #[test]
    fn the_hosts_id_is_the_events_if_it_can_be() {
        let id = |text: &str| read(&[(INVOCATION_ID, text)]).id;
        assert_eq!(id("7e2b5c51-0a0e-4d43-9a86-8b5a4bd4cf3f").as_deref(), Some("7e2b5c51-0a0e-4d43-9a86-8b5a4bd4cf3f"));
        assert_eq!((id(""), id("two words"), id(&"x".repeat(129))), (None, None, None));
        assert_eq!(read(&[]).id, None);
    }

    #[test]
    fn the_client_is_what_the_front_end_saw() {
        let client = |text: &str| read(&[("x-forwarded-for", text)]).client;
        assert_eq!(client("10.0.0.1, 192.0.2.1:50000"), "192.0.2.1".parse().ok());
        assert_eq!(read(&[]).client, None);
    }

    #[test]
    fn a_request_of_the_hosts_own_making_is_told_by_its_agent() {
        let forwarded = |agent: &str| read(&[("user-agent", agent)]).loses_bodies;
        assert!(forwarded("curl/8.0 Azure-Functions-Host/4.1037.0.0"));
        assert!(forwarded("Azure-Functions-Host/4.1037.0.0"));
        assert!(!forwarded("Azure-Functions-Host/4 curl/8.0"));
        assert!(!read(&[]).loses_bodies);
    }
}
