//! `minidocker info`.

use anyhow::Result;
use cgroups::Hierarchies;
use clap::Args;
use images::Listed;
use namespaces::rootless;
use nix::sys::utsname::uname;

use crate::container::Container;
use crate::format::say;
use crate::root::Root;
use crate::status;

/// Show what this engine has and what this machine can.
#[derive(Args)]
pub struct Info {}

/// Carries the command out.
pub fn run(root: &Root, _: &Info) -> Result<i32> {
    let containers = Container::all(root)?;
    let running = containers.iter().filter(|c| status::of(c).is_ok_and(|(status, _)| status.is_running())).count();
    let images = root.store()?.list()?.into_iter().filter(|listed| matches!(listed, Listed::Image(_))).count();
    let kernel = uname()?;
    say(format_args!("Containers: {}", containers.len()))?;
    say(format_args!(" Running: {running}"))?;
    say(format_args!(" Stopped: {}", containers.len() - running))?;
    say(format_args!("Images: {images}"))?;
    say(format_args!("Server Version: {} (no daemon)", env!("CARGO_PKG_VERSION")))?;
    say("Storage Driver: overlay")?;
    say(format_args!("State Directory: {}", root.path().display()))?;
    say(format_args!("Rootless: {}", rootless()))?;
    match Hierarchies::detect() {
        Ok(found) => {
            say(format_args!("Cgroup Version: {}", found.kind()))?;
            say(format_args!("Cgroup Parent: {}", root.cgroup()))?;
        }
        Err(error) => say(format_args!("Cgroup Version: unknown ({error:#})"))?,
    }
    say(format_args!("Kernel Version: {}", kernel.release().to_string_lossy()))?;
    say(format_args!("Architecture: {}", kernel.machine().to_string_lossy()))?;
    say(format_args!("CPUs: {}", std::thread::available_parallelism().map_or(1, usize::from)))?;
    say("Kept on this host (minidocker system reset takes it away):")?;
    if rootless() {
        // A bridge and a firewall take root's rights, to make and even to look at.
        return say(" nothing: an ordinary user's containers have no bridge and no firewall rules").map(|()| 0);
    }
    match network::host_objects(&root.bridge()) {
        Ok(objects) if objects.is_empty() => say(" nothing")?,
        Ok(objects) => objects.iter().try_for_each(|object| say(format_args!(" {object}")))?,
        Err(error) => say(format_args!(" unknown ({error:#})"))?,
    }
    Ok(0)
}
