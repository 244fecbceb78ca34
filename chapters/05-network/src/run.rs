//! The second half of a `run` without an engine: the container to its end, its ports served meanwhile, and what runs that
//! were killed have left.

use std::os::fd::AsFd;
use std::path::Path;
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use namespaces::wait::Forwarder;
use namespaces::{Container, Exit, Isolation, Process};

use crate::endpoint::{Endpoint, Handle};
use crate::release::{leases, release};
use crate::{Bridge, undo};

/// As chapter 1's `run_to_end`, and serves the published ports meanwhile. `ready` is told where the container is to be
/// found, before the payload runs.
pub fn run_to_end(
    mut process: Process,
    isolations: Vec<Box<dyn Isolation>>,
    handle: &Handle,
    ready: impl FnOnce(&Endpoint),
) -> Result<Exit> {
    process.die_with_parent = true;
    let forwarder = Forwarder::new()?;
    let created = Container::new(process, isolations, undo).create()?;
    ready(&handle.endpoint());
    let mut proxy = handle.take_proxy();
    let running = created.start()?;
    let service = match &mut proxy {
        Some(proxy) => {
            let readable = proxy.as_fd().try_clone_to_owned().context("watch the published ports")?;
            Some((readable, || proxy.turn()))
        }
        None => None,
    };
    forwarder.until_end_serving(running.child(), service)?;
    running.wait()
}

/// An id for a container that nobody keeps: our process id and the time, so that whoever finds a lease of that id can see
/// whether its owner may still be there.
pub fn passing_id() -> String {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:06x}{:06x}", process::id(), clock.as_micros() & 0xff_ffff)
}

/// Gives back the addresses of runs with a [`passing_id`] that were killed and could not do it themselves.
pub fn collect_dead(bridge: &Bridge) -> Result<()> {
    for (_, id) in leases(bridge)?.into_iter().filter(|(_, id)| id.len() == passing_id().len()) {
        let pid = id.get(..id.len() - 6).and_then(|pid| u32::from_str_radix(pid, 16).ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            release(bridge, &id)?;
        }
    }
    Ok(())
}
