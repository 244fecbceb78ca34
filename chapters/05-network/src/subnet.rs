//! IPv4 subnets, and the hardware address that belongs to an address.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// A range of addresses that share a prefix: `172.18.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    /// The first address, all bits after the prefix zero.
    pub network: Ipv4Addr,
    /// How many leading bits all its addresses share: 0 to 32.
    pub prefix: u8,
}

impl Subnet {
    /// The subnet of that prefix in which `address` lies.
    pub fn around(address: Ipv4Addr, prefix: u8) -> Subnet {
        let prefix = prefix.min(32);
        Subnet { network: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix }
    }

    /// The bits that all addresses share, as 255.255.0.0.
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// Whether the address is one of this subnet.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Subnet) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// The bridge's own address, the containers' gateway: the first one.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | 1)
    }

    /// The last address, to which broadcasts go.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// `02:42` and the four bytes of the address: locally administered, and the same whenever an address is given out
/// again, so that a neighbour's ARP cache is never wrong.
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// `02:42:ac:12:00:02`
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (network, prefix) = text.split_once('/').with_context(|| format!("{text:?} is not ADDRESS/PREFIX"))?;
        let network: Ipv4Addr = network.parse().with_context(|| format!("{network:?} is not an IPv4 address"))?;
        let prefix: u8 = prefix.parse().with_context(|| format!("{prefix:?} is not a prefix length"))?;
        ensure!(prefix <= 32, "a prefix of {prefix} bits is longer than an address");
        let subnet = Subnet::around(network, prefix);
        ensure!(subnet.network == network, "{text} has bits set after the prefix; do you mean {subnet}?");
        Ok(subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error:#}"))
    }

    #[test]
    fn edges() {
        let net = subnet("172.18.0.0/16");
        assert_eq!(net.gateway(), Ipv4Addr::new(172, 18, 0, 1));
        assert_eq!(net.broadcast(), Ipv4Addr::new(172, 18, 255, 255));
        assert_eq!(net.mask(), Ipv4Addr::new(255, 255, 0, 0));
        assert!(net.contains(net.broadcast()) && !net.contains(Ipv4Addr::new(172, 19, 0, 0)));
        assert!(subnet("0.0.0.0/0").contains(net.network));
        assert!(subnet("172.16.0.0/12").overlaps(net) && net.overlaps(subnet("172.18.4.0/24")));
        assert!(!net.overlaps(subnet("172.19.0.0/16")));
    }

    #[test]
    fn text_with_host_bits_is_refused() {
        for text in ["172.18.0.1/16", "172.18.0.0", "172.18.0.0/33", "x/8", "1.0.0.0/"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }

    #[test]
    fn hardware_addresses_follow_addresses() {
        assert_eq!(mac_text(mac_of(Ipv4Addr::new(172, 18, 0, 2))), "02:42:ac:12:00:02");
    }
}
