//! `/sys/fs/cgroup`: what a container sees of the cgroups, read-only, and no further than its own.
//!
//! A mount of a cgroup hierarchy begins at the root of the cgroup namespace of whoever makes it (`cgroup_namespaces(7)`),
//! which is the container's own cgroup. Read-only, because a writable v1 hierarchy is a way out: `release_agent` names a
//! program that the host's kernel runs as root (CVE-2022-0492).

use std::path::Path;

use anyhow::{Context, Result};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, Mode};
use rustix::mount::{MountAttrFlags, MoveMountFlags, move_mount};

use crate::attach::put;
use crate::filesystem::{host_instance, new_filesystem};
use crate::sys::{Reach, mount_setattr};

/// The inode of `/proc/PID/ns/cgroup` in the host's own cgroup namespace: `PROC_CGROUP_INIT_INO` of `linux/proc_ns.h`.
const HOST_NAMESPACE: u64 = 0xEFFF_FFFB;

/// A cgroup hierarchy of this machine.
#[derive(Debug, PartialEq, Eq)]
enum Hierarchy {
    /// cgroup v2.
    Unified,
    /// cgroup v1: the controllers that share it (as `cpu,cpuacct`), or its name (as `name=systemd`).
    V1(String),
}

/// Mounts the container's cgroups on `place`: the v2 hierarchy itself; on a v1 or hybrid machine a directory with one
/// mount for each hierarchy.
///
/// Called in the child, which is in its cgroup and cgroup namespace, while the host's `/proc` is still there.
pub(crate) fn attach(place: BorrowedFd<'_>, attributes: MountAttrFlags) -> Result<()> {
    // Without a cgroup namespace there is nothing to make anew. Mounting v2 from the host's namespace would even change
    // the options of the host's own mount (apply_cgroup_root_flags() in kernel/cgroup/cgroup.c).
    if fs::stat("/proc/self/ns/cgroup").context("look at our cgroup namespace")?.st_ino == HOST_NAMESPACE {
        let host = host_instance(Path::new("/sys/fs/cgroup"), attributes).context("clone the host's /sys/fs/cgroup")?;
        return put(host.as_fd(), place);
    }
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").context("read /proc/self/cgroup")?;
    let hierarchies = hierarchies(&cgroups);
    if hierarchies == [Hierarchy::Unified] {
        return put(new_filesystem::<&str>("cgroup2", &[], attributes)?.as_fd(), place);
    }
    // nr_inodes: the directory itself, and one or two names for each hierarchy.
    let directory = new_filesystem("tmpfs", &["mode=755", "nr_blocks=1", "nr_inodes=64"], attributes - READ_ONLY)?;
    put(directory.as_fd(), place)?;
    for hierarchy in &hierarchies {
        attach_one(directory.as_fd(), hierarchy, attributes).with_context(|| format!("mount {hierarchy:?}"))?;
    }
    mount_setattr(directory.as_fd(), c"", Reach::Mount, attributes & READ_ONLY, None).context("make it read-only")
}

const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// Mounts one hierarchy below `directory`, under the names that it has on the host: `cpu,cpuacct` with the links `cpu` and
/// `cpuacct`, `systemd` for `name=systemd`, `unified` for v2 beside v1.
fn attach_one(directory: BorrowedFd<'_>, hierarchy: &Hierarchy, attributes: MountAttrFlags) -> Result<()> {
    let (name, mount) = match hierarchy {
        Hierarchy::Unified => ("unified", new_filesystem::<&str>("cgroup2", &[], attributes)?),
        Hierarchy::V1(controllers) => match controllers.strip_prefix("name=") {
            Some(name) => (name, new_filesystem("cgroup", &["none", controllers], attributes)?),
            None => {
                let options: Vec<&str> = controllers.split(',').collect();
                (controllers.as_str(), new_filesystem("cgroup", &options, attributes)?)
            }
        },
    };
    fs::mkdirat(directory, name, Mode::from_raw_mode(0o755))?;
    // A name will do where nobody else can have put anything: the tmpfs is ours and new.
    move_mount(&mount, "", directory, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    for link in name.split(',').filter(|link| *link != name) {
        fs::symlinkat(name, directory, link)?;
    }
    Ok(())
}

/// The hierarchies of a `/proc/PID/cgroup`, whose lines are `ID:CONTROLLERS:PATH` (`cgroups(7)`).
fn hierarchies(cgroups: &str) -> Vec<Hierarchy> {
    let controllers = cgroups.lines().filter_map(|line| line.split(':').nth(1));
    controllers
        .map(|controllers| match controllers {
            "" => Hierarchy::Unified,
            some => Hierarchy::V1(some.to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Hierarchy::{Unified, V1};
    use super::hierarchies;

    #[test]
    fn v2_only() {
        assert_eq!(hierarchies("0::/user.slice\n"), [Unified]);
    }

    #[test]
    fn hybrid() {
        let cgroups = "3:cpu,cpuacct:/docker/1\n2:pids:/a:b\n1:name=systemd:/\n0::/init.scope\n";
        let expected = [V1("cpu,cpuacct".into()), V1("pids".into()), V1("name=systemd".into()), Unified];
        assert_eq!(hierarchies(cgroups), expected);
    }

    #[test]
    fn none_at_all() {
        assert_eq!(hierarchies(""), []);
    }
}
