//! Chapter 2: limits and accounting.
//!
//! Namespaces decide what a process *sees*; cgroups decide how much it may *take*, and count what it took
//! (`cgroups(7)`). A cgroup is a directory: one makes it, writes limits into its files, and puts a process in. There
//! are two of these file systems, and both are in use:
//!
//! * **v2**: one tree, one directory per cgroup, all controllers in it (kernel documentation, `cgroup-v2.rst`).
//! * **v1**: one tree per controller, so that a cgroup is as many directories as it has controllers (`cgroup-v1/`).
//! * **hybrid**: v1 for the controllers, and a v2 tree beside them, mostly without any controller.
//!
//! In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`quantity`] | `64m` and `0.5`, as people write them |
//! | [`args`], [`limits`], [`block_io`] | the flags; what they ask for |
//! | [`check`], [`machine`] | what contradicts itself or the machine |
//! | `mounts`, [`hierarchy`] | which trees this machine has, and which controller lives where |
//! | [`plan`](mod@plan), `needs`, `writes` | from limits to directories and writes: pure and printable |
//! | [`step`], `carry_out` | the actions that plans are made of, and doing them |
//! | [`group`], `tree`, `mark` | a cgroup that exists: its directories, its processes, its end, what goes with it |
//! | [`update`](mod@update) | changing limits while processes run under them |
//! | [`freezer`] | stopping all its processes, waking them, killing them |
//! | [`accounting`], [`report`] | what it used, and whether it ran out of memory |
//! | [`devices`], [`device_program`] | which devices may be opened: v1 by lines, v2 by a small program in the kernel |
//! | [`isolation`] | [`Cgroup`] and [`Join`]: the part of a container's start |
//!
//! Invariants: this crate writes below the cgroup mounts only. A limit that nothing can enforce is an error, never a
//! warning.

pub mod accounting;
pub mod args;
pub mod block_io;
mod carry_out;
pub mod check;
pub mod device_program;
pub mod devices;
pub mod freezer;
pub mod group;
pub mod hierarchy;
pub mod isolation;
pub mod limits;
pub mod machine;
mod mark;
mod mounts;
mod needs;
pub mod plan;
pub mod quantity;
pub mod report;
pub mod step;
mod tree;
pub mod update;
mod writes;

use anyhow::{Context, Result};
use namespaces::Record;
use nix::unistd::Pid;

pub use accounting::Stats;
pub use args::{CgroupArgs, LimitArgs};
pub use block_io::DeviceValue;
pub use devices::{DeviceRule, DeviceRules};
pub use group::Group;
pub use hierarchy::{Controller, Hierarchies};
pub use isolation::{Cgroup, Join};
pub use limits::Limits;
pub use plan::Plan;
pub use quantity::{format_bytes, parse_bytes, parse_cpus};
pub use step::Step;
pub use update::update;

/// Undoes a record of this chapter: kills what may still live in the cgroup and removes it. Hands others to chapter 1.
pub fn undo(record: &Record) -> Result<()> {
    if record.kind != isolation::RECORD {
        return namespaces::undo(record);
    }
    let group: Group = serde_json::from_value(record.data.clone()).context("read the record of a cgroup")?;
    group.remove()
}

/// The processes of a cgroup and of the cgroups below it. An error when there is no such cgroup.
pub fn processes(path: &str) -> Result<Vec<Pid>> {
    Group::at(path)?.processes()
}

/// Kills every process of a cgroup, those born meanwhile included. Where there is no such cgroup there is none to kill.
pub fn kill_all(path: &str) -> Result<()> {
    freezer::kill_all(&Group::find(path)?)
}

/// Stops every process of a cgroup where it stands; they cannot notice. Returns when all stand still.
pub fn freeze(path: &str) -> Result<()> {
    freezer::freeze(&Group::at(path)?)
}

/// Lets the processes of a frozen cgroup go on.
pub fn thaw(path: &str) -> Result<()> {
    freezer::thaw(&Group::at(path)?)
}

/// Whether the processes of a cgroup stand still. They do not where there is no such cgroup.
pub fn is_frozen(path: &str) -> Result<bool> {
    let group = Group::find(path)?;
    Ok(!group.is_nowhere() && freezer::is_frozen(&group))
}

/// Whether the kernel has killed a process of this cgroup because the cgroup was out of memory.
pub fn oom_killed(path: &str) -> Result<bool> {
    Ok(accounting::oom_kills(&Group::at(path)?).is_some_and(|kills| kills > 0))
}

/// What an ordinary user can do here so that containers that are started from then on have a cgroup: for messages.
pub fn delegation() -> Result<String> {
    Ok(needs::way_to_one(Hierarchies::detect()?))
}

/// What a cgroup uses and may use, now.
pub fn stats(path: &str) -> Result<Stats> {
    Ok(accounting::stats(&Group::at(path)?))
}
