//! `minidocker pause` and `unpause`.

use anyhow::{Context, Result, ensure};
use cgroups::{Group, freezer};
use clap::Args;

use super::for_each;
use crate::container::Container;
use crate::format::say;
use crate::root::Root;
use crate::status;

/// Stop all processes of containers where they stand.
#[derive(Args)]
pub struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Let the processes of paused containers go on.
#[derive(Args)]
pub struct Unpause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Carries `pause` out. The kernel remembers it, in the cgroup: whoever looks there knows, and no monitor is needed.
pub fn pause(root: &Root, args: &Pause) -> Result<i32> {
    for_each(&args.containers, |name| {
        let group = running(root, name)?;
        ensure!(!freezer::is_frozen(&group), "container {name} is already paused");
        ensure!(
            !group.is_nowhere(),
            "cannot pause {name}: no cgroup of its own is found to stop it by: it must have been started by root, or from a \
             cgroup that was delegated (stop it, and start it again from one: {})",
            cgroups::delegation()?
        );
        freezer::freeze(&group).with_context(|| format!("cannot pause {name}"))?;
        say(name)
    })
}

/// Carries `unpause` out.
pub fn unpause(root: &Root, args: &Unpause) -> Result<i32> {
    for_each(&args.containers, |name| {
        let group = running(root, name)?;
        ensure!(freezer::is_frozen(&group), "container {name} is not paused");
        freezer::thaw(&group).with_context(|| format!("cannot unpause {name}"))?;
        say(name)
    })
}

/// The cgroup of a container that runs.
fn running(root: &Root, name: &str) -> Result<Group> {
    let container = Container::find(root, name)?;
    ensure!(status::of(&container)?.0.is_running(), "container {name} is not running");
    Group::find(&container.description()?.cgroup)
}
