//! Which controllers the limits cannot do without, and what to say where one is missing.

use std::collections::BTreeMap;
use std::fs::metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rustix::process::geteuid;

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

/// Why the v2 tree cannot be used, and the way out.
pub(crate) fn no_access(tree: &Path) -> String {
    format!(
        "{} is not ours to write to (be root, or be given a cgroup: {}; in a container: have it mounted read-write)",
        tree.display(),
        delegation(tree),
    )
}

/// The same of a v1 tree, which nobody delegates: who may write there may leave the limits above as well.
fn no_access_to_v1(tree: &Path) -> String {
    format!(
        "{} is not ours to write to (be root, or boot with cgroup v2 alone, which can be delegated: \
         systemd.unified_cgroup_hierarchy=1; in a container: have it mounted read-write)",
        tree.display(),
    )
}

/// How an ordinary user comes by a cgroup that is theirs: by systemd, where it runs, else by root's hand.
pub(crate) fn delegation(tree: &Path) -> String {
    let user = geteuid().as_raw();
    let ours = |socket: &Path| metadata(socket).is_ok_and(|socket| socket.uid() == user);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    ways(tree, user, runtime.as_deref(), ours, Path::new("/run/systemd/system").exists())
}

/// `runtime` is XDG_RUNTIME_DIR, `ours` tells whether a user manager of ours listens there (a service or a shell of `su`
/// has none), `systemd` whether the machine was booted with it (`sd_booted(3)`).
fn ways(tree: &Path, user: u32, runtime: Option<&Path>, ours: impl Fn(&Path) -> bool, systemd: bool) -> String {
    const BY_SYSTEMD: &str = "systemd-run --user --scope -p Delegate=yes COMMAND";
    let usual = PathBuf::from(format!("/run/user/{user}"));
    let listens = |runtime: &Path| ours(&runtime.join("systemd/private"));
    if runtime.is_some_and(listens) {
        BY_SYSTEMD.into()
    } else if listens(&usual) {
        format!("XDG_RUNTIME_DIR={} {BY_SYSTEMD}", usual.display())
    } else if systemd {
        format!(
            "log in as this user, not by su, and {BY_SYSTEMD}; without a login: as root loginctl enable-linger {user}, then \
             XDG_RUNTIME_DIR={} {BY_SYSTEMD}",
            usual.display()
        )
    } else {
        format!(
            "have root make one that is yours: mkdir {0}/mine && chown -R $USER {0}/mine && echo $$ > \
             {0}/mine/cgroup.procs",
            tree.display()
        )
    }
}

/// How containers come by a cgroup of their own here. For messages about one that has none.
pub(crate) fn way_to_one(hierarchies: &Hierarchies) -> String {
    match &hierarchies.unified {
        Some(unified) => delegation(&unified.base),
        None => "boot with cgroup v2, which can be delegated".into(),
    }
}

/// Why a flag cannot be honoured, and the way out.
pub(crate) fn missing(hierarchies: &Hierarchies, controller: Controller, flag: &str) -> String {
    let why = match (hierarchies.legacy.get(&controller), &hierarchies.unified) {
        (Some(tree), _) => no_access_to_v1(tree),
        (None, Some(unified)) if hierarchies.legacy.is_empty() => format!(
            "{} has no {name} controller (for a user or a container it has to be delegated from above: for systemd's users by \
             /etc/systemd/system/user@.service.d/delegate.conf with [Service] Delegate=cpu cpuset io memory pids, and \
             systemctl daemon-reload; else the kernel was built or booted without it: see /proc/cgroups and the boot \
             parameter cgroup_disable)",
            unified.base.display(),
            name = controller.v2().unwrap_or(controller.v1()),
        ),
        (None, None) if hierarchies.legacy.is_empty() => format!("no cgroup tree is mounted ({MOUNT_ONE})"),
        (None, _) => {
            format!("no cgroup tree has a {controller} controller (mount one: mount -t cgroup -o {controller} …)")
        }
    };
    format!("{flag} cannot be enforced: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_named_only_where_it_listens() {
        let tree = Path::new("/cg");
        let run = |user: u32| PathBuf::from(format!("/run/user/{user}"));
        let listens = |at: u32| move |socket: &Path| socket == run(at).join("systemd/private");
        let way = |runtime: Option<&Path>, at: u32, systemd| ways(tree, 1000, runtime, listens(at), systemd);
        assert!(way(Some(&run(1000)), 1000, true).starts_with("systemd-run --user --scope"));
        // A shell of su has no variable, or its caller's.
        for runtime in [None, Some(run(0))] {
            let said = way(runtime.as_deref(), 1000, true);
            assert!(said.starts_with("XDG_RUNTIME_DIR=/run/user/1000 systemd-run"), "{said}");
            let said = way(runtime.as_deref(), 7, true);
            assert!(said.contains("not by su") && said.contains("loginctl enable-linger 1000"), "{said}");
        }
        let said = way(None, 7, false);
        assert!(said.contains("mkdir /cg/mine") && !said.contains("systemd"), "{said}");
    }

    #[test]
    fn nobody_is_sent_to_delegate_v1() {
        let machine = Hierarchies {
            unified: Some(crate::hierarchy::Unified::default()),
            legacy: [(Controller::Memory, "/cg/memory".into())].into(),
            ..Hierarchies::default()
        };
        let said = missing(&machine, Controller::Memory, "--memory");
        assert!(said.contains("be root") && said.contains("systemd.unified_cgroup_hierarchy=1"), "{said}");
        assert!(!said.contains("systemd-run"), "{said}");
    }
}
