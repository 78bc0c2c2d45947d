//! Lists of addresses: who may call, and which proxies are believed.

use std::net::IpAddr;

use ipnet::IpNet;
use webhook_queue::list;

/// The name of the one list that is built in.
const PRESET: &str = "e-conomic";
/// Where e-conomic's legacy webhooks come from, as its own guide lists them.
const E_CONOMIC: [&str; 6] =
    ["54.72.52.167", "54.72.183.215", "54.194.169.90", "54.72.183.216", "54.72.217.203", "54.76.161.29"];

/// Networks, each given as an address, a CIDR range, or the preset `e-conomic`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressList {
    networks: Vec<IpNet>,
}

impl AddressList {
    /// Reads a list separated by spaces or commas. The error names the item that is not understood.
    pub fn parse(text: &str) -> Result<AddressList, String> {
        let mut networks = Vec::new();
        for item in list(text) {
            if item == PRESET {
                networks.extend(E_CONOMIC.iter().filter_map(|address| network(address)));
                continue;
            }
            networks.push(network(item).ok_or_else(|| {
                format!("'{item}' is neither an address, nor a range like 10.0.0.0/8, nor the preset {PRESET}")
            })?);
        }
        if networks.is_empty() {
            return Err("holds no address".to_owned());
        }
        Ok(AddressList { networks })
    }

    /// Whether the address is on the list. An IPv4 address in IPv6 clothing counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, address: &str) -> bool {
        AddressList::parse(list).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_ranges_and_the_preset_are_understood() {
        assert!(contains("10.0.0.0/8, 192.0.2.7", "10.255.0.1"));
        assert!(contains("10.0.0.0/8 192.0.2.7", "192.0.2.7"));
        assert!(!contains("10.0.0.0/8 192.0.2.7", "192.0.2.8"));
        assert!(contains("2001:db8::/32", "2001:db8::1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("e-conomic 10.0.0.1", "54.194.169.90"));
        assert_eq!(AddressList::parse(PRESET).unwrap().networks.len(), E_CONOMIC.len());
    }

    #[test]
    fn an_ipv4_address_is_the_same_in_ipv6_clothing() {
        assert!(contains("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(contains("::ffff:192.0.2.7", "192.0.2.7"));
    }

    #[test]
    fn nonsense_is_named() {
        let error = AddressList::parse("10.0.0.1 here").unwrap_err();
        assert_eq!(error, "'here' is neither an address, nor a range like 10.0.0.0/8, nor the preset e-conomic");
    }
}
