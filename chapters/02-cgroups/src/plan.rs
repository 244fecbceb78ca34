//! From limits to directories and writes: pure, printable, and tested without touching a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::hierarchy::relative;
use crate::needs::{MOUNT_ONE, missing, needs, no_access, only_v1_has};
use crate::writes::{Occasion, Writes};
use crate::{Controller, DeviceRules, Group, Hierarchies, Limits, Step};

/// What has to be done to make one cgroup, or to change its limits, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The cgroup that comes of it.
    pub group: Group,
    /// How. All directories come before all limits.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Plans the cgroup `path` with `limits` and, if devices are to be limited, `devices`, for a machine with these
    /// `hierarchies`, of which those directories can be used that are `writable`.
    ///
    /// `None` if nothing is asked for and there is no place for a cgroup. On v1 every tree costs a directory and a
    /// move, so a cgroup is made only where it is needed: where there is a limit; in memory and pids, always, since out
    /// of memory and a fork bomb are worth an answer; in blkio for the accounting (24 µs, measured); in devices for the rules; and, where
    /// no v2 tree lends its `cgroup.freeze`, `cgroup.kill` and `cpu.stat` (they are there without any controller), in
    /// freezer and cpuacct.
    pub fn new(
        hierarchies: &Hierarchies,
        path: &str,
        limits: &Limits,
        devices: Option<&DeviceRules>,
        writable: impl Fn(&Path) -> bool,
    ) -> Result<Option<Plan>> {
        let name = relative(path)?;
        only_v1_has(limits, hierarchies)?;
        let needs = needs(limits, devices.is_some() && hierarchies.legacy.contains_key(&Controller::Devices));
        let mut wants: BTreeSet<Controller> = needs.keys().copied().collect();
        wants.extend([Controller::Memory, Controller::Pids, Controller::Blkio]);
        if hierarchies.unified.is_none() {
            wants.extend([Controller::Freezer, Controller::Cpuacct]);
        }
        let mut group = Group { tidy_parent: !path.starts_with('/'), ..Group::default() };
        let enabled = homes(hierarchies, &name, &wants, &needs, &writable, &mut group)?;
        let mut steps = Vec::new();
        if let Some(unified) = hierarchies.unified.as_ref().filter(|unified| writable(&unified.base)) {
            group.unified = Some(unified.base.join(&name));
            steps = unified_directories(&unified.base, &name, &enabled, first(&needs, &enabled));
        }
        if group.is_nowhere() {
            // Limits have been refused above, each with what it lacks.
            ensure!(
                devices.is_none(),
                "the list of devices cannot be enforced: no cgroup tree is ours to write to ({MOUNT_ONE}; in a container: \
                 have /sys/fs/cgroup mounted read-write)"
            );
            return Ok(None);
        }
        steps.extend(legacy_directories(hierarchies, &group, &name));
        let mut writes = Writes::new(&group, steps, Occasion::Birth);
        writes.limits(limits);
        if let Some(rules) = devices {
            writes.devices(rules)?;
        }
        let steps = writes.steps;
        Ok(Some(Plan { group, steps }))
    }

    /// Plans new `limits` for the cgroup `path`, which exists as `present`. The group that comes of it may be in more v1
    /// trees than before: a process that nothing limited is not in every one.
    ///
    /// `swap_first` tells whether the sum of memory and swap grows (v1: it must never be less than memory's own limit).
    pub fn change(
        hierarchies: &Hierarchies,
        path: &str,
        present: &Group,
        limits: &Limits,
        swap_first: bool,
        writable: impl Fn(&Path) -> bool,
    ) -> Result<Plan> {
        let name = relative(path)?;
        only_v1_has(limits, hierarchies)?;
        let needs = needs(limits, false);
        let wants = needs.keys().copied().collect();
        let mut group = present.clone();
        let enabled = homes(hierarchies, &name, &wants, &needs, &writable, &mut group)?;
        let mut steps = Vec::new();
        if let (Some(unified), false) = (&hierarchies.unified, enabled.is_empty()) {
            steps = unified_directories(&unified.base, &name, &enabled, first(&needs, &enabled));
        }
        steps.extend(legacy_directories(hierarchies, &group, &name));
        let is_there = |directory: &Path| present.directories().any(|there| there == directory);
        steps.retain(|step| !matches!(step, Step::Leaf(directory) if is_there(directory)));
        let mut writes = Writes::new(&group, steps, Occasion::Change { swap_first });
        writes.limits(limits);
        let steps = writes.steps;
        Ok(Plan { group, steps })
    }
}

/// The first flag that needs one of these controllers.
fn first(needs: &BTreeMap<Controller, &'static str>, controllers: &BTreeSet<Controller>) -> Option<&'static str> {
    controllers.iter().find_map(|controller| needs.get(controller).copied())
}

/// Finds a tree for each controller that is wanted: adds the directories in v1's to `group`, gives those that v2 has.
/// An error if one is needed and nowhere to be had.
fn homes(
    hierarchies: &Hierarchies,
    name: &Path,
    wants: &BTreeSet<Controller>,
    needs: &BTreeMap<Controller, &'static str>,
    writable: impl Fn(&Path) -> bool,
    group: &mut Group,
) -> Result<BTreeSet<Controller>> {
    let mut enabled = BTreeSet::new();
    for controller in wants {
        if hierarchies.unified_has(*controller) {
            enabled.insert(*controller);
        } else if let Some(tree) = hierarchies.legacy.get(controller).filter(|tree| writable(tree)) {
            group.legacy.insert(*controller, tree.join(name));
        } else if let Some(flag) = needs.get(controller) {
            // Below a base that is not ours, what is handed down does not matter: another one may have it.
            if let (true, Some(unified)) = (hierarchies.legacy.is_empty(), &hierarchies.unified) {
                ensure!(writable(&unified.base), "{flag} cannot be enforced: {}", no_access(&unified.base));
            }
            bail!(missing(hierarchies, *controller, flag));
        }
    }
    if let (Some(unified), Some(flag)) = (&hierarchies.unified, first(needs, &enabled)) {
        ensure!(writable(&unified.base), "{flag} cannot be enforced: {}", no_access(&unified.base));
    }
    Ok(enabled)
}

/// v2: every directory on the way must hand the controllers on to the next (`cgroup-v2.rst`, "Top-down Constraint").
fn unified_directories(
    base: &Path,
    name: &Path,
    controllers: &BTreeSet<Controller>,
    needed: Option<&'static str>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut directory = base.to_owned();
    for part in name {
        if directory != base {
            steps.push(Step::Parent(directory.clone()));
        }
        if !controllers.is_empty() {
            steps.push(Step::Enable { directory: directory.clone(), controllers: controllers.clone(), needed });
        }
        directory.push(part);
    }
    steps.push(Step::Leaf(directory));
    steps
}

/// v1: the same path in every tree that is used, once even if two controllers share the tree.
fn legacy_directories(hierarchies: &Hierarchies, group: &Group, name: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut done = BTreeSet::new();
    for (controller, leaf) in &group.legacy {
        let tree = &hierarchies.legacy[controller];
        if !done.insert(tree) {
            continue;
        }
        let cpuset = hierarchies.legacy.get(&Controller::Cpuset) == Some(tree);
        let mut directory = tree.clone();
        for part in name {
            directory.push(part);
            steps.push(if directory == *leaf {
                Step::Leaf(directory.clone())
            } else {
                Step::Parent(directory.clone())
            });
            if cpuset {
                steps.extend(["cpuset.cpus", "cpuset.mems"].map(|file| Step::Inherit(directory.join(file))));
            }
        }
    }
    steps
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        if let Some(directory) = &self.group.unified {
            writeln!(f, "# clone3 with CLONE_INTO_CGROUP and {}", directory.display())?;
        }
        for directory in self.group.legacy_directories() {
            writeln!(f, "echo PID > {}/cgroup.procs", directory.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
