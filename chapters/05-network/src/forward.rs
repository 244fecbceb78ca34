//! Making this host a router, beside whoever else filters there.
//!
//! A bridge is of use only if the host forwards packets between it and the other interfaces. That takes a switch of the
//! kernel and, on hosts whose `FORWARD` chain drops what it does not know (Docker and ufw set it so), two rules in
//! *that* chain: accepting in a table of one's own does not help, since a packet must pass every base chain of a hook.

use std::ffi::CStr;
use std::fs;

use anyhow::{Context, Result};

use crate::nft::{Change, Table};
use crate::ruleset;

const SWITCH: &str = "/proc/sys/net/ipv4/ip_forward";

/// Lets this host forward packets. True if it did not before.
pub fn switch_on() -> Result<bool> {
    let on = fs::read_to_string(SWITCH).with_context(|| format!("read {SWITCH}"))?.trim() != "0";
    if !on {
        fs::write(SWITCH, "1").with_context(|| format!("write 1 to {SWITCH}"))?;
    }
    Ok(!on)
}

/// The reverse.
pub fn switch_off() -> Result<()> {
    fs::write(SWITCH, "0").with_context(|| format!("write 0 to {SWITCH}"))
}

/// Lets a bridge through the host's own filter, if that would drop its packets and does not let it through yet.
pub fn let_through(bridge: &str) -> Result<()> {
    let mut filter = Table::new("filter")?;
    if !filter.exists()? {
        return Ok(());
    }
    let Some(chain) = chain_to_pass(&mut filter)? else { return Ok(()) };
    let there = filter.commented_rules(chain)?;
    let missing: Vec<Change> = ruleset::let_through(bridge)
        .into_iter()
        .filter(|(_, comment)| !there.iter().any(|rule| rule.comment == *comment))
        .map(|(rule, comment)| Change::Insert(chain, rule, comment))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    filter.apply(&missing).with_context(|| format!("let {bridge} through the chain {chain:?} of the table ip filter"))
}

/// Takes the rules of [`let_through`] away again, wherever they are. Gives how many there were.
pub fn shut(bridge: &str) -> Result<usize> {
    let mut filter = Table::new("filter")?;
    let found = rules(&mut filter, bridge)?;
    if !found.is_empty() {
        filter.apply(&found).with_context(|| format!("take the rules of {bridge} out of the table ip filter"))?;
    }
    Ok(found.len())
}

/// The rules of [`let_through`] that are there, as what deletes them.
pub fn rules(filter: &mut Table, bridge: &str) -> Result<Vec<Change>> {
    let ours = ruleset::let_through(bridge).map(|(_, comment)| comment);
    let mut found = Vec::new();
    if !filter.exists()? {
        return Ok(found);
    }
    for chain in [USER, FORWARD] {
        if filter.chain_policy(chain)?.is_some() {
            let rules = filter.commented_rules(chain)?.into_iter();
            found.extend(
                rules.filter(|rule| ours.contains(&rule.comment)).map(|rule| Change::DeleteRule(chain, rule.handle)),
            );
        }
    }
    Ok(found)
}

/// Docker's chain for rules of the administrator, which it never flushes; else `FORWARD` itself, if it drops.
fn chain_to_pass(filter: &mut Table) -> Result<Option<&'static CStr>> {
    if filter.chain_policy(USER)?.is_some() {
        return Ok(Some(USER));
    }
    let drops = filter.chain_policy(FORWARD)? == Some(Some(libc::NF_DROP));
    Ok(drops.then_some(FORWARD))
}

const USER: &CStr = c"DOCKER-USER";
const FORWARD: &CStr = c"FORWARD";
