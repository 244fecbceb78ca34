//! Changing the limits of a cgroup that is in use.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::hierarchy::{may_write, relative};
use crate::{Group, Hierarchies, Limits, Plan, accounting, freezer};

/// Changes the limits of the cgroup `path` from `old` to `new`, while its processes run. All of it or, on an error, none.
///
/// What is in `old` only stays as it is; a limit is lifted by saying so, with -1. A limit below what is in use is refused
/// for memory, where somebody would have to be killed for it; more processes than allowed just get no more.
pub fn update(path: &str, old: &Limits, new: &Limits) -> Result<()> {
    let present = Group::at(path)?;
    let limits = new.changed_from(old);
    let swap_first = match (limits.memory_and_swap(), accounting::swap_limit(&present)) {
        (_, None) => false, // no limit, which nothing exceeds
        (None, Some(_)) => true,
        (Some(new), Some(old)) => new > old,
    };
    let hierarchies = Hierarchies::holding(&relative(path)?)?;
    let plan = Plan::change(&hierarchies, path, &present, &limits, swap_first, may_write)?;
    plan.carry_out_or_restore()?;
    move_into_new(&present, &plan.group)
}

/// v1: moves the processes into the trees in which they had no cgroup of their own before.
///
/// They stand still meanwhile: one that forked while its number was being written would leave its child outside.
fn move_into_new(present: &Group, group: &Group) -> Result<()> {
    let (old, new) = (present.legacy_directories(), group.legacy_directories());
    let new: Vec<&Path> = new.difference(&old).copied().collect();
    if new.is_empty() {
        return Ok(());
    }
    let was_frozen = freezer::is_frozen(present);
    freezer::freeze(present)?;
    let moved = new.into_iter().try_for_each(|directory| move_all(present, directory));
    if !was_frozen {
        freezer::thaw(present)?;
    }
    moved
}

fn move_all(group: &Group, directory: &Path) -> Result<()> {
    let procs = directory.join("cgroup.procs");
    let moving = || format!("move the container into {}", directory.display());
    let mut file = fs::File::options().write(true).open(&procs).with_context(moving)?;
    for pid in group.processes()? {
        match file.write_all(pid.to_string().as_bytes()) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {} // it has ended
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other.with_context(moving)?,
        }
    }
    Ok(())
}
