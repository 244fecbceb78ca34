//! From limits to directories and writes: pure, printable, and tested without touching a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::hierarchy::relative;
use crate::writes::Writes;
use crate::{Controller, DeviceRules, Group, Hierarchies, Limits};

/// What has to be done to make one cgroup, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The cgroup that comes of it.
    pub group: Group,
    /// How. All directories come before all limits.
    pub steps: Vec<Step>,
}

/// One action on the cgroup trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a directory above the cgroup, unless it is there.
    Parent(PathBuf),
    /// Make the cgroup's own directory, which must be new.
    Leaf(PathBuf),
    /// v2: let the cgroups below `directory` have these controllers. What is `needed`, and by which flag, must succeed.
    Enable {
        /// Where `cgroup.subtree_control` is written.
        directory: PathBuf,
        /// What is written.
        controllers: BTreeSet<Controller>,
        /// The first flag that cannot be honoured without.
        needed: Option<&'static str>,
    },
    /// v1 cpuset: take over the parent's value. A new cpuset is empty there, and no process may enter it.
    Inherit(PathBuf),
    /// Set a limit.
    Write {
        /// The file.
        file: PathBuf,
        /// What is written.
        value: String,
        /// The flag that asked for it.
        flag: &'static str,
        /// Not asked for in so many words: skipped where the kernel has no such file.
        optional: bool,
    },
    /// v2: attach the program that decides about opening devices.
    Devices {
        /// The cgroup's directory.
        directory: PathBuf,
        /// The rules that the program is made from.
        rules: DeviceRules,
    },
}

impl Plan {
    /// Plans the cgroup `path` with `limits` and, if devices are to be limited, `devices`, for a machine with these
    /// `hierarchies`, of which those directories can be used that are `writable`.
    ///
    /// `None` if nothing is asked for and there is no place for a cgroup. On v1 every tree costs a directory and a
    /// move, so a cgroup is made only where it is needed: where there is a limit; in memory and pids, always, since out
    /// of memory and a fork bomb are worth an answer; in devices for the rules; and, where no v2 tree lends its
    /// `cgroup.freeze`, `cgroup.kill` and `cpu.stat` (they are there without any controller), in freezer and cpuacct.
    pub fn new(
        hierarchies: &Hierarchies,
        path: &str,
        limits: &Limits,
        devices: Option<&DeviceRules>,
        writable: impl Fn(&Path) -> bool,
    ) -> Result<Option<Plan>> {
        let name = relative(path)?;
        let needs = needs(limits, devices.is_some() && hierarchies.legacy.contains_key(&Controller::Devices));
        let mut wants: BTreeSet<Controller> = needs.keys().copied().collect();
        wants.extend([Controller::Memory, Controller::Pids]);
        if hierarchies.unified.is_none() {
            wants.extend([Controller::Freezer, Controller::Cpuacct]);
        }

        let mut group = Group { unified: None, legacy: BTreeMap::new(), tidy_parent: !path.starts_with('/') };
        let mut enabled = BTreeSet::new();
        for controller in wants {
            let needed = needs.get(&controller).copied();
            if hierarchies.unified_has(controller) {
                enabled.insert(controller);
            } else if let Some(tree) = hierarchies.legacy.get(&controller).filter(|tree| writable(tree)) {
                group.legacy.insert(controller, tree.join(&name));
            } else if let Some(flag) = needed {
                bail!(missing(hierarchies, controller, flag));
            }
        }
        let mut steps = Vec::new();
        if let Some(unified) = &hierarchies.unified {
            let needed = enabled.iter().find_map(|controller| needs.get(controller).copied());
            if writable(&unified.base) {
                group.unified = Some(unified.base.join(&name));
                steps.extend(unified_directories(&unified.base, &name, &enabled, needed));
            } else if let Some(flag) = needed {
                bail!("{flag} cannot be enforced: {}", no_access(&unified.base));
            }
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
        let mut writes = Writes::new(&group, steps);
        writes.limits(limits);
        if let Some(rules) = devices {
            writes.devices(rules)?;
        }
        let steps = writes.steps;
        Ok(Some(Plan { group, steps }))
    }
}

/// The controllers that the limits cannot do without, each with the first flag that asks for it.
fn needs(limits: &Limits, devices: bool) -> BTreeMap<Controller, &'static str> {
    let asked = [
        (limits.cpu_shares.is_some(), Controller::Cpu, "--cpu-shares"),
        (limits.cpu_quota.is_some() || limits.cpu_period.is_some(), Controller::Cpu, "--cpu-quota"),
        (limits.nano_cpus.is_some(), Controller::Cpu, "--cpus"),
        (limits.cpuset_mems.is_some(), Controller::Cpuset, "--cpuset-mems"),
        (limits.cpuset_cpus.is_some(), Controller::Cpuset, "--cpuset-cpus"),
        (limits.memory_reservation.is_some(), Controller::Memory, "--memory-reservation"),
        (limits.memory_swap.is_some(), Controller::Memory, "--memory-swap"),
        (limits.memory.is_some(), Controller::Memory, "--memory"),
        (limits.pids.is_some(), Controller::Pids, "--pids-limit"),
        (devices, Controller::Devices, "the list of devices"),
    ];
    asked.into_iter().filter(|(asked, ..)| *asked).map(|(_, controller, flag)| (controller, flag)).collect()
}

/// How to come by a tree.
const MOUNT_ONE: &str = "as root: mount -t cgroup2 none /sys/fs/cgroup";

/// Why a tree cannot be used, and the way out.
fn no_access(tree: &Path) -> String {
    format!(
        "{} is not ours to write to (be root; or as a user: systemd-run --user --scope -p Delegate=yes COMMAND; in a \
         container: have it mounted read-write)",
        tree.display()
    )
}

/// Why a flag cannot be honoured, and the way out.
fn missing(hierarchies: &Hierarchies, controller: Controller, flag: &str) -> String {
    let why = match (hierarchies.legacy.get(&controller), &hierarchies.unified) {
        (Some(tree), _) => no_access(tree),
        (None, Some(unified)) if hierarchies.legacy.is_empty() => format!(
            "{} has no {} controller (for a user or a container it has to be delegated from above; else the kernel was \
             built or booted without it: see /proc/cgroups and the boot parameter cgroup_disable)",
            unified.base.display(),
            controller.v2().unwrap_or(controller.v1()),
        ),
        (None, Some(_)) => {
            format!("no cgroup tree has a {controller} controller (mount one: mount -t cgroup -o {controller} …)")
        }
        (None, None) if hierarchies.legacy.is_empty() => format!("no cgroup tree is mounted ({MOUNT_ONE})"),
        (None, None) => {
            format!("no cgroup tree has a {controller} controller (mount one: mount -t cgroup -o {controller} …)")
        }
    };
    format!("{flag} cannot be enforced: {why}")
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

impl fmt::Display for Step {
    /// As one would type it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Parent(path) => write!(f, "mkdir -p {}", path.display()),
            Step::Leaf(path) => write!(f, "mkdir {}", path.display()),
            Step::Enable { directory, controllers, .. } => {
                write!(f, "echo '{}' > {}/cgroup.subtree_control", enabling(controllers), directory.display())
            }
            Step::Inherit(file) => match inherited(file) {
                Some(from) => write!(f, "cat {} > {}", from.display(), file.display()),
                None => write!(f, "# {}", file.display()),
            },
            Step::Write { file, value, flag, .. } => {
                write!(f, "echo '{value}' > {}   # {flag}", file.display())
            }
            Step::Devices { directory, rules } => {
                write!(f, "# attach to {} a program for: {rules}", directory.display())
            }
        }
    }
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

/// The text for `cgroup.subtree_control`: `+memory +pids`.
pub(crate) fn enabling(controllers: &BTreeSet<Controller>) -> String {
    let names: Vec<String> = controllers.iter().filter_map(|name| name.v2()).map(|name| format!("+{name}")).collect();
    names.join(" ")
}

/// The file of the same name one directory up.
pub(crate) fn inherited(file: &Path) -> Option<PathBuf> {
    Some(file.parent()?.parent()?.join(file.file_name()?))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
