//! Who called, by the word of those who pass requests on.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

#[cfg(any(test, feature = "standalone"))]
use crate::sources::AddressList;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Walks from the peer to the left through `X-Forwarded-For`, as long as a trusted proxy speaks: the first stranger
/// is the client. What is not an address was not written by a trusted proxy, so the walk ends before it.
#[cfg(any(test, feature = "standalone"))]
pub(crate) fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &AddressList) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut elements = from_the_right(headers);
    while trusted.contains(client) {
        match elements.next().and_then(parse) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// The right-most element of `X-Forwarded-For`: what a platform's front end has added, whatever the caller claims.
pub(crate) fn at_the_front(headers: &HeaderMap) -> Option<IpAddr> {
    from_the_right(headers).next().and_then(parse)
}

fn from_the_right(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("")).collect();
    lines.into_iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim)
}

/// An address, with or without a port and brackets.
fn parse(element: &str) -> Option<IpAddr> {
    let address = element.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(element.parse::<SocketAddr>().ok()?.ip()));
    let address = address.or_else(|| element.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (http::HeaderName::from_static(X_FORWARDED_FOR), line.parse().unwrap())).collect()
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = AddressList::parse("10.0.0.0/8 fd00::/8").unwrap();
        behind_proxies(peer.parse().unwrap(), &headers(lines), &trusted).to_string()
    }

    #[test]
    fn a_stranger_is_the_client_whatever_it_claims() {
        assert_eq!(client("192.0.2.1", &["10.0.0.1", "1.1.1.1"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_is_believed_up_to_the_first_stranger() {
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1:443"]), "192.0.2.1");
        assert_eq!(client("fd00::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("fd00::1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["::ffff:192.0.2.1"]), "192.0.2.1");
    }

    #[test]
    fn what_is_not_an_address_ends_the_walk() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.1, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn a_front_end_has_the_last_word() {
        let front = |lines: &[&str]| at_the_front(&headers(lines)).map(|client| client.to_string());
        assert_eq!(front(&["10.0.0.1, 192.0.2.1:50000"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(front(&["192.0.2.1", "10.0.0.1, [2001:db8::1]:443"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(front(&["192.0.2.1, unknown"]), None);
        assert_eq!(front(&[]), None);
    }
}
