//! Who called: the peer, or whoever the trusted proxies say.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::sources::AddressList;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Walks from the peer to the left through `X-Forwarded-For`, as long as a trusted proxy speaks: the first stranger
/// is the client. What is not an address was not written by a trusted proxy, so the walk ends before it.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &AddressList) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("")).collect();
    let mut elements = lines.iter().rev().flat_map(|line| line.rsplit(','));
    while trusted.contains(client) {
        match elements.next().and_then(|element| parse(element.trim())) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
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

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = AddressList::parse("10.0.0.0/8 fd00::/8").unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        address(peer.parse().unwrap(), &headers, &trusted).to_string()
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
}
