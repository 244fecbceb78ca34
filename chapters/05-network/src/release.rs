//! Undoing a container's network by its id, from what is on disk.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use namespaces::Record;
use serde::{Deserialize, Serialize};

use crate::bridge::Bridge;
use crate::lease::Leases;
use crate::nft::Table;
use crate::{host, ruleset};

/// The name of a record of this chapter.
pub const RECORD: &str = "network";

/// What a record holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Undo {
    pub(crate) bridge: Bridge,
    pub(crate) container: String,
}

/// Takes a container's ports out of the maps and gives its address back. Its veth pair needs nothing: it goes with the
/// namespace, and deleting it by hand would take 10 to 30 ms.
pub fn undo(record: &Record) -> Result<()> {
    let undo: Undo = serde_json::from_value(record.data.clone()).context("a record of kind network")?;
    release(&undo.bridge, &undo.container)
}

/// The same for any container by its id: for those that are gone and left a lease.
pub fn release(bridge: &Bridge, container: &str) -> Result<()> {
    if !bridge.dir().exists() {
        return Ok(());
    }
    let _locked = bridge.lock()?;
    let mut leases = Leases::read(bridge.dir())?;
    let Some((_, lease)) = leases.release(container) else { return Ok(()) };
    if !lease.ports.is_empty() {
        let mut table = Table::new(bridge.name())?;
        host::unpublish(&mut table, &ruleset::unpublish(&lease.ports))?;
        table.park();
    }
    leases.write(bridge.dir())
}

/// Who has which address of a bridge: address and container id.
pub fn leases(bridge: &Bridge) -> Result<Vec<(Ipv4Addr, String)>> {
    let leases = Leases::read(bridge.dir())?;
    Ok(leases.iter().map(|(address, lease)| (address, lease.container.clone())).collect())
}
