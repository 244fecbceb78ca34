//! Which controllers the limits cannot do without, and what to say where one is missing.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::{Controller, Hierarchies, Limits};

/// The controllers that the limits cannot do without, each with the first flag that asks for it.
pub(crate) fn needs(limits: &Limits, devices: bool) -> BTreeMap<Controller, &'static str> {
    let unless_lifted = |limit: Option<i64>| limit.is_some_and(|number| number != -1);
    let mut needs = BTreeMap::new();
    // The later of two for one controller is the one that is named.
    let asked = [
        (limits.cpu_rt_period.is_some(), Controller::Cpu, "--cpu-rt-period"),
        (limits.cpu_rt_runtime.is_some(), Controller::Cpu, "--cpu-rt-runtime"),
        (limits.cpu_shares.is_some(), Controller::Cpu, "--cpu-shares"),
        (limits.cpu_period.is_some(), Controller::Cpu, "--cpu-period"),
        (unless_lifted(limits.cpu_quota), Controller::Cpu, "--cpu-quota"),
        (limits.nano_cpus.is_some(), Controller::Cpu, "--cpus"),
        (limits.cpuset_mems.is_some(), Controller::Cpuset, "--cpuset-mems"),
        (limits.cpuset_cpus.is_some(), Controller::Cpuset, "--cpuset-cpus"),
        (limits.oom_kill_disable, Controller::Memory, "--oom-kill-disable"),
        (limits.memory_swappiness.is_some(), Controller::Memory, "--memory-swappiness"),
        (limits.memory_reservation.is_some(), Controller::Memory, "--memory-reservation"),
        (unless_lifted(limits.memory_swap), Controller::Memory, "--memory-swap"),
        (limits.memory.is_some(), Controller::Memory, "--memory"),
        (!limits.hugepages.is_empty(), Controller::Hugetlb, "--hugepages-limit"),
        (unless_lifted(limits.pids), Controller::Pids, "--pids-limit"),
        (devices, Controller::Devices, "the list of devices"),
    ];
    needs.extend(asked.into_iter().filter(|(asked, ..)| *asked).map(|(_, controller, flag)| (controller, flag)));
    for (flag, devices) in limits.devices() {
        if !devices.is_empty() {
            needs.insert(Controller::Blkio, flag);
        }
    }
    if limits.blkio_weight.is_some() {
        needs.insert(Controller::Blkio, "--blkio-weight");
    }
    needs
}

/// Refuses what v2 has no counterpart for, where the controller lives there.
pub(crate) fn only_v1_has(limits: &Limits, hierarchies: &Hierarchies) -> Result<()> {
    use Controller::{Cpu, Memory};
    let lives_in_v2 = |controller| !hierarchies.legacy.contains_key(&controller) && hierarchies.unified.is_some();
    for (asked, controller, flag, what) in [
        (limits.cpu_rt_period.is_some(), Cpu, "--cpu-rt-period", "no limits for real-time (use --ulimit rtprio=…)"),
        (limits.cpu_rt_runtime.is_some(), Cpu, "--cpu-rt-runtime", "no limits for real-time (use --ulimit rtprio=…)"),
        (
            limits.memory_swappiness.is_some(),
            Memory,
            "--memory-swappiness",
            "no swappiness of its own for each cgroup (limit swap by --memory-swap, or set vm.swappiness for the machine)",
        ),
        (
            limits.oom_kill_disable,
            Memory,
            "--oom-kill-disable",
            "no way to switch the OOM killer off (make the container its last choice: --oom-score-adj -1000)",
        ),
    ] {
        ensure!(!(asked && lives_in_v2(controller)), "{flag} cannot be enforced: cgroup v2 has {what}");
    }
    Ok(())
}

/// How to come by a tree.
pub(crate) const MOUNT_ONE: &str = "as root: mount -t cgroup2 none /sys/fs/cgroup";

/// Why a tree cannot be used, and the way out.
pub(crate) fn no_access(tree: &Path) -> String {
    format!(
        "{} is not ours to write to (be root, or be given a cgroup: {}; in a container: have it mounted read-write)",
        tree.display(),
        delegation(tree),
    )
}

/// How an ordinary user comes by a cgroup that is theirs: by systemd, where a user manager runs, else by root's hand.
pub(crate) fn delegation(tree: &Path) -> String {
    let bus = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|run| Path::new(&run).join("systemd/private").exists());
    if bus || Path::new("/run/systemd/system").exists() {
        return "systemd-run --user --scope -p Delegate=yes COMMAND".into();
    }
    format!(
        "have root make one that is yours: mkdir {0}/mine && chown -R $USER {0}/mine && echo $$ > \
         {0}/mine/cgroup.procs",
        tree.display()
    )
}

/// Why a flag cannot be honoured, and the way out.
pub(crate) fn missing(hierarchies: &Hierarchies, controller: Controller, flag: &str) -> String {
    let why = match (hierarchies.legacy.get(&controller), &hierarchies.unified) {
        (Some(tree), _) => no_access(tree),
        (None, Some(unified)) if hierarchies.legacy.is_empty() => format!(
            "{} has no {} controller (for a user or a container it has to be delegated from above; else the kernel was \
             built or booted without it: see /proc/cgroups and the boot parameter cgroup_disable)",
            unified.base.display(),
            controller.v2().unwrap_or(controller.v1()),
        ),
        (None, None) if hierarchies.legacy.is_empty() => format!("no cgroup tree is mounted ({MOUNT_ONE})"),
        (None, _) => {
            format!("no cgroup tree has a {controller} controller (mount one: mount -t cgroup -o {controller} …)")
        }
    };
    format!("{flag} cannot be enforced: {why}")
}
