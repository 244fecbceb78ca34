//! `minidocker update`.

use anyhow::{Context, Result, ensure};
use cgroups::{LimitArgs, Limits};
use clap::Args;

use super::for_each;
use crate::container::Container;
use crate::format::say;
use crate::root::Root;
use crate::status;

/// Change the limits of containers, running or not.
#[derive(Args)]
#[command(args_override_self = true)]
pub struct Update {
    #[command(flatten)]
    limits: LimitArgs,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Update) -> Result<i32> {
    ensure!(
        !args.limits.applied_to(&Limits::default()).is_empty(),
        "you must provide one or more flags when using this command (minidocker update --help lists them)"
    );
    for_each(&args.containers, |name| {
        let container = Container::find(root, name)?;
        update(&container, &args.limits).with_context(|| format!("cannot update {name}"))?;
        say(name)
    })
}

/// In force first, then in the books: killed in between, the container runs on with what was wanted, and the next start
/// has the old.
fn update(container: &Container, args: &LimitArgs) -> Result<()> {
    let _lock = container.lock()?;
    let mut description = container.description()?;
    let old = description.limits.clone();
    let new = args.applied_to(&old);
    new.check_here(&description.cgroup)?;
    let was_running = status::of(container)?.0.is_running();
    if was_running {
        cgroups::update(&description.cgroup, &old, &new)?;
    }
    description.limits = new.clone();
    container.write_description(&description)?;
    // Whoever has started it meanwhile may have read the old ones.
    if !was_running && status::of(container)?.0.is_running() {
        cgroups::update(&description.cgroup, &old, &new)?;
    }
    Ok(())
}
