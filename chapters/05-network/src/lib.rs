//! Chapter 5: an address and published ports, by netlink.
//!
//! A new network namespace holds nothing but a loopback interface that is down. This crate connects it: a bridge on the
//! host, a veth pair from it into the namespace, an address, a route, translation on the way out, published ports on
//! the way in, and the three files by which programs find names. In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`mode`], [`publish`], [`args`] | what the flags ask for |
//! | [`network`], [`endpoint`] | [`Network`]: the isolation, verb by verb; what the caller learns from it |
//! | [`release`](mod@release) | what its record undoes |
//! | [`links`] | interfaces, addresses and routes over netlink |
//! | [`bridge`] | the names derived from the state directory, the subnet, the lock |
//! | [`subnet`], [`lease`] | address arithmetic; who has which address |
//! | [`nft`] | nftables over netlink: expressions and batches |
//! | [`ruleset`] | the rules of a bridge, as a plan |
//! | [`forward`] | the host as a router beside Docker's and ufw's rules |
//! | [`host`] | making the bridge stand, and taking it away |
//! | [`reserve`], [`proxy`] | the sockets on published ports, and who serves them |
//! | [`resolv`], [`hosts`] | resolv.conf, hosts, hostname |
//! | [`run`](mod@run) | the second half of `run` without an engine |
//!
//! Invariants: no other program is run (`ip`, `nft` and `iptables` cost a millisecond each); nothing is made on the host
//! but what is derived from the state directory's path; the ruleset has the same length however many containers run.

pub mod args;
pub mod bridge;
pub mod endpoint;
pub mod forward;
pub mod host;
pub mod hosts;
pub mod lease;
pub mod links;
pub mod mode;
pub mod network;
pub mod nft;
pub mod proxy;
pub mod publish;
pub mod release;
pub mod reserve;
pub mod resolv;
pub mod ruleset;
pub mod run;
pub mod subnet;

pub use args::{ExtraHost, NetworkArgs, NetworkOptions};
pub use bridge::Bridge;
pub use endpoint::{Endpoint, Handle};
pub use host::{host_objects, reset};
pub use mode::Mode;
pub use network::{Network, file_mounts};
pub use proxy::Proxy;
pub use publish::{Port, Protocol};
pub use release::{leases, release};
pub use subnet::Subnet;

/// Undoes a record of this chapter or of one before: published ports leave the firewall's maps, the address goes back.
pub fn undo(record: &namespaces::Record) -> anyhow::Result<()> {
    match record.kind.as_str() {
        release::RECORD => release::undo(record),
        _ => layers::undo(record),
    }
}
