//! Making the bridge stand, and taking it away.
//!
//! Everything here is made if it is missing and left alone if it is there: a reboot takes the bridge, `nft flush
//! ruleset` the rules, Docker's restart the two rules in its chain, and the next container that starts mends it.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};

use crate::bridge::{Bridge, Locked, Settings, choose_subnet};
use crate::lease::Leases;
use crate::links::{Links, errno};
use crate::nft::{Change, Table};
use crate::subnet::{Subnet, mac_of};
use crate::{forward, resolv, ruleset};

/// The subnet of a bridge, chosen and remembered if that has not been done.
pub fn settle(bridge: &Bridge, _locked: &Locked, links: &mut Links) -> Result<Settings> {
    if let Some(settings) = bridge.settings()? {
        return Ok(settings);
    }
    let nameservers = resolv::nameservers(&resolv::of_host());
    let subnet = choose_subnet(bridge, &links.routes()?, &nameservers)?;
    let settings = Settings { subnet, forwarding_was_off: false };
    bridge.remember(&settings)?;
    Ok(settings)
}

/// Makes sure that the bridge stands and its rules are there. Gives the bridge's number.
///
/// Costs four short questions to the kernel where all is as it should be.
pub fn stand(
    bridge: &Bridge,
    _locked: &Locked,
    settings: &mut Settings,
    leases: &Leases,
    links: &mut Links,
    table: &mut Table,
) -> Result<u32> {
    let index = stand_link(bridge, settings.subnet, links)?;
    if !table.exists()? {
        let mut changes = ruleset::table(bridge.name(), settings.subnet);
        // Where somebody flushed the rules, the containers that run get theirs back.
        changes.extend(leases.iter().flat_map(|(address, lease)| ruleset::publish(address, &lease.ports)));
        table.apply(&changes).with_context(|| format!("make the nftables table {}", bridge.name()))?;
    }
    forward::let_through(bridge.name())?;
    if forward::switch_on()? {
        settings.forwarding_was_off = true;
        bridge.remember(settings)?;
    }
    Ok(index)
}

/// A bridge that is up is complete: that is done last.
fn stand_link(bridge: &Bridge, subnet: Subnet, links: &mut Links) -> Result<u32> {
    let name = bridge.name();
    let index = match links.find(name)? {
        Some(link) if link.up => return Ok(link.index),
        Some(link) => link.index,
        None => links.create_bridge(name, mac_of(subnet.gateway()))?,
    };
    // The containers have no IPv6; with link-local addresses they could talk past the rules, which are IPv4's.
    let switch = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
    match fs::write(&switch, "1") {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("write 1 to {switch}"));
        }
        _ => {}
    }
    links
        .add_address(index, subnet.gateway(), subnet)
        .with_context(|| format!("give the bridge {name} its address"))?;
    links.set_up(index).with_context(|| format!("set the bridge {name} up"))?;
    Ok(index)
}

/// Leads published ports to a container. Elements of a dead container's that are in the way are replaced: whoever calls
/// this holds the ports' sockets.
pub fn publish(table: &mut Table, additions: &[Change], removals: &[Change]) -> Result<()> {
    if additions.is_empty() {
        return Ok(());
    }
    match table.apply(additions) {
        Err(error) if errno(&error) == Some(libc::EEXIST) => {
            unpublish(table, removals)?;
            table.apply(additions).context("publish ports in nftables")
        }
        other => other.context("publish ports in nftables"),
    }
}

/// Takes published ports out of the maps, those that are there.
pub fn unpublish(table: &mut Table, removals: &[Change]) -> Result<()> {
    if removals.is_empty() {
        return Ok(());
    }
    // All at once; a batch with one that is missing is refused as a whole, so then one by one.
    let alone = removals.chunks(1);
    for changes in std::iter::once(removals).chain(alone) {
        match table.apply(changes) {
            Ok(()) if changes.len() == removals.len() => return Ok(()),
            Err(error) if errno(&error) != Some(libc::ENOENT) => {
                return Err(error).context("unpublish ports in nftables");
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a bridge has host-wide, one line each, for `info`.
pub fn host_objects(bridge: &Bridge) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let settings = bridge.settings()?;
    if Links::new().find(bridge.name())?.is_some() {
        let subnet = settings.as_ref().map(|settings| format!(" ({})", settings.subnet)).unwrap_or_default();
        lines.push(format!("bridge {}{subnet}", bridge.name()));
    }
    if Table::new(bridge.name())?.exists()? {
        lines.push(format!("nftables table ip {}", bridge.name()));
    }
    let through = forward::rules(&mut Table::new("filter")?, bridge.name())?.len();
    if through > 0 {
        lines.push(format!("{through} rules for {} in nftables table ip filter", bridge.name()));
    }
    if settings.is_some_and(|settings| settings.forwarding_was_off) {
        lines.push("net.ipv4.ip_forward, switched on".to_owned());
    }
    Ok(lines)
}

/// Takes away what a bridge has host-wide, and forgets its leases. Its containers lose their network.
///
/// The switch for forwarding goes back only if it was this bridge that needed it and no other of ours stands.
pub fn reset(bridge: &Bridge) -> Result<()> {
    let mut links = Links::new();
    let mut table = Table::new(bridge.name())?;
    links.delete(bridge.name())?;
    if table.exists()? {
        table
            .apply(&[Change::DeleteTable])
            .with_context(|| format!("take the nftables table {} away", bridge.name()))?;
    }
    forward::shut(bridge.name())?;
    let ours = bridge.settings()?.is_some_and(|settings| settings.forwarding_was_off);
    if ours && !links.names()?.iter().any(|name| name.starts_with("md-")) {
        forward::switch_off()?;
    }
    match fs::remove_dir_all(bridge.dir()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", bridge.dir().display()))
        }
        _ => Ok(()),
    }
}
