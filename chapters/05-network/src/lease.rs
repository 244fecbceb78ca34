//! Who has which address: a file, and the rule by which the next address is chosen.
//!
//! ```json
//! { "last": "172.18.0.3",
//!   "leases": { "172.18.0.2": { "container": "4f1c…", "ports": [] },
//!               "172.18.0.3": { "container": "90ab…", "ports": [ … ] } } }
//! ```
//!
//! The file is changed under a lock only ([`crate::bridge::Locked`]). A lease also names the ports that lead to its
//! address, so that any process can take them out of the firewall's maps again by the container's id, or put them back
//! when somebody flushed the rules.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::publish::Port;
use crate::subnet::Subnet;

/// What is known of an address that is given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The id of the container that has it.
    pub container: String,
    /// The ports of the host that lead to it, with the numbers really used.
    pub ports: Vec<Port>,
}

/// All leases of a bridge.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Leases {
    /// The address given out last.
    last: Option<Ipv4Addr>,
    leases: BTreeMap<Ipv4Addr, Lease>,
}

impl Leases {
    /// Reads the file of a bridge; none is no leases.
    ///
    /// # Errors
    /// A file that cannot be read as what it should be; it is never silently begun anew, since its containers may run.
    pub fn read(dir: &Path) -> Result<Leases> {
        let path = file(dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Leases::default()),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged (remove it when no container of this bridge runs)", path.display()))
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, dir: &Path) -> Result<()> {
        crate::bridge::replace(&file(dir), &serde_json::to_vec(self).context("encode the leases")?)
    }

    /// Gives a container an address.
    ///
    /// Next fit, not first fit: the address that became free last is given out last. A network namespace that has just
    /// died answers on its address for some 20 ms more, and somebody may still be sending to it.
    ///
    /// The caller holds the sockets of `ports` by now, so whoever else is noted for one of them is dead: it is struck
    /// out there, lest the dead one's clearing up takes the new one's port away.
    ///
    /// # Errors
    /// No address left.
    pub fn claim(&mut self, subnet: Subnet, container: &str, ports: &[Port]) -> Result<Ipv4Addr> {
        self.release(container);
        for lease in self.leases.values_mut() {
            lease.ports.retain(|old| !ports.iter().any(|new| same_place(old, new)));
        }
        let (first, last) = (subnet.gateway().to_bits() + 1, subnet.broadcast().to_bits().saturating_sub(1));
        let start = self.last.map_or(first, |last| last.to_bits().saturating_add(1));
        let start = if (first..=last).contains(&start) { start } else { first };
        let address = (start..=last)
            .chain(first..start)
            .map(Ipv4Addr::from_bits)
            .find(|address| !self.leases.contains_key(address));
        let Some(address) = address else {
            bail!("no free address left in {subnet}: all {} are given to containers", self.leases.len());
        };
        self.last = Some(address);
        self.leases.insert(address, Lease { container: container.to_owned(), ports: ports.to_vec() });
        Ok(address)
    }

    /// Takes the address of a container back; `None` if it has none.
    pub fn release(&mut self, container: &str) -> Option<(Ipv4Addr, Lease)> {
        let address = *self.leases.iter().find(|(_, lease)| lease.container == container)?.0;
        self.leases.remove(&address).map(|lease| (address, lease))
    }

    /// All of them, by address.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, &Lease)> {
        self.leases.iter().map(|(address, lease)| (*address, lease))
    }
}

fn same_place(one: &Port, other: &Port) -> bool {
    (one.host_ip, one.host_port, one.protocol) == (other.host_ip, other.host_port, other.protocol)
}

fn file(dir: &Path) -> PathBuf {
    dir.join("leases.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(prefix: u8) -> Subnet {
        Subnet::around(Ipv4Addr::new(10, 9, 0, 0), prefix)
    }

    fn claim(leases: &mut Leases, prefix: u8, container: &str) -> String {
        leases.claim(subnet(prefix), container, &[]).map_or_else(|error| format!("{error:#}"), |ip| ip.to_string())
    }

    #[test]
    fn a_freed_address_rests() {
        let mut leases = Leases::default();
        assert_eq!(claim(&mut leases, 29, "a"), "10.9.0.2");
        assert_eq!(claim(&mut leases, 29, "b"), "10.9.0.3");
        assert!(leases.release("a").is_some());
        assert!(leases.release("a").is_none());
        assert_eq!(claim(&mut leases, 29, "c"), "10.9.0.4");
        assert_eq!(claim(&mut leases, 29, "d"), "10.9.0.5");
        assert_eq!(claim(&mut leases, 29, "e"), "10.9.0.6");
        // Round the end, to the one that rested longest.
        assert_eq!(claim(&mut leases, 29, "f"), "10.9.0.2");
        assert_eq!(claim(&mut leases, 29, "g"), "no free address left in 10.9.0.0/29: all 5 are given to containers");
    }

    #[test]
    fn a_container_that_starts_again_moves_on() {
        let mut leases = Leases::default();
        assert_eq!(claim(&mut leases, 29, "a"), "10.9.0.2");
        assert_eq!(claim(&mut leases, 29, "a"), "10.9.0.3");
        assert_eq!(leases.iter().count(), 1);
    }

    #[test]
    fn tiny_subnets_are_full_and_not_a_panic() {
        for prefix in [30, 31, 32] {
            let mut leases = Leases::default();
            let given = (0..4).filter(|n| leases.claim(subnet(prefix), &n.to_string(), &[]).is_ok()).count();
            assert_eq!(given, if prefix == 30 { 1 } else { 0 }, "/{prefix}");
        }
    }

    #[test]
    fn the_holder_of_the_socket_takes_over_a_dead_ones_port() -> Result<()> {
        let mut leases = Leases::default();
        let ports = [Port::parse("8080:80")?, Port::parse("53:53/udp")?].concat();
        leases.claim(subnet(24), "dead", &ports)?;
        leases.claim(subnet(24), "new", &ports[..1])?;
        let (_, dead) = leases.release("dead").context("the dead one's lease")?;
        assert_eq!(dead.ports, ports[1..]);
        Ok(())
    }
}
