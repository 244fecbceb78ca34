//! Chapter 5: an address and published ports, by netlink.

pub mod args;
pub mod bridge;
pub mod hosts;
pub mod lease;
pub mod mode;
pub mod network;
pub mod proxy;
pub mod publish;
pub mod resolv;
pub mod subnet;

pub use args::{ExtraHost, NetworkArgs, NetworkOptions};
pub use bridge::Bridge;
pub use mode::Mode;
pub use network::{Endpoint, Handle, Network};
pub use proxy::Proxy;
pub use publish::{Port, Protocol};
pub use subnet::Subnet;

use anyhow::Result;
use namespaces::Record;

/// Undoes a record of this chapter or of one before: the address goes back, published ports leave the firewall's maps.
pub fn undo(record: &Record) -> Result<()> {
    layers::undo(record)
}

/// Takes away what a bridge has host-wide: itself, its rules, its leases.
pub fn reset(_bridge: &Bridge) -> Result<()> {
    anyhow::bail!("not there yet")
}

/// What a bridge has host-wide, one line each, for `info`.
pub fn host_objects(_bridge: &Bridge) -> Result<Vec<String>> {
    Ok(Vec::new())
}
