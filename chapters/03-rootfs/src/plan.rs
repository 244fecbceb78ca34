//! From default mounts and a user's wishes to the list that is carried out.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::in_root::clean;
use crate::mount::Mount;
use crate::propagation::Propagation;

/// What may be mounted over below `/proc`: single files that programs such as lxcfs replace with ones that tell of the
/// container's limits. Anywhere else a mount could make `/proc/self/attr` or the like a file of the attacker's, and what a
/// runtime writes there to restrict a process would restrict nothing (CVE-2019-16884).
const OVER_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
    "/proc/uptime",
];

/// The mounts of a container: `defaults` without those that the user replaces, and then the user's own, those nearest to the
/// root first.
///
/// A user's mount on `/dev` replaces all that would be below it too, as in Docker: what is mounted there decides.
pub fn plan(defaults: Vec<Mount>, user: Vec<Mount>) -> Result<Vec<Mount>> {
    let mut user = user;
    let mut taken = HashSet::new();
    for mount in &mut user {
        ensure!(
            mount.destination.is_absolute(),
            "the destination {:?} is not an absolute path",
            mount.destination.display().to_string()
        );
        mount.destination = clean(&mount.destination);
        ensure!(
            mount.destination != Path::new("/"),
            "the destination must not be / (the root is not a mount of yours)"
        );
        ensure!(
            !mount.destination.starts_with("/proc") || may_cover_proc(&mount.destination),
            "nothing may be mounted on {}: what is under /proc tells about processes, and engines rely on it",
            mount.destination.display()
        );
        ensure!(taken.insert(mount.destination.clone()), "Duplicate mount point: {}", mount.destination.display());
    }
    for shared in user.iter().filter(|mount| mount.propagation == Propagation::Shared) {
        let below = |mount: &&Mount| {
            mount.destination != shared.destination && mount.destination.starts_with(&shared.destination)
        };
        if let Some(mount) = user.iter().find(below) {
            bail!(
                "the mount on {} would appear on the host, because {} is shared with it (use rslave or rprivate)",
                mount.destination.display(),
                shared.destination.display()
            );
        }
    }
    user.sort_by_key(|mount| mount.destination.components().count());
    let own_dev = taken.contains(Path::new("/dev"));
    let replaced = |place: &Path| taken.contains(place) || (own_dev && place.starts_with("/dev"));
    let mut plan = defaults;
    plan.retain(|mount| !replaced(&mount.destination));
    plan.extend(user);
    Ok(plan)
}

/// Whether a user may mount something on this place below `/proc`.
pub(crate) fn may_cover_proc(destination: &Path) -> bool {
    OVER_PROC.iter().any(|allowed| destination == Path::new(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::{MountSource, default_mounts};

    fn destinations(plan: &[Mount]) -> Vec<&str> {
        plan.iter().filter_map(|mount| mount.destination.to_str()).collect()
    }

    #[test]
    fn the_user_comes_last_and_parents_first() {
        let user = vec![Mount::bind("/x", "/a/b/c"), Mount::bind("/y", "/a/"), Mount::bind("/z", "/b/../q")];
        let plan = plan(default_mounts(), user).unwrap();
        assert_eq!(destinations(&plan[7..]), ["/a", "/q", "/a/b/c"]);
    }

    #[test]
    fn a_mount_of_the_users_replaces_a_default() {
        let plan = plan(default_mounts(), vec![Mount::new(MountSource::Tmpfs, "/dev/shm")]).unwrap();
        assert_eq!(plan.iter().filter(|mount| mount.destination == Path::new("/dev/shm")).count(), 1);
        assert_eq!(plan.len(), default_mounts().len());
    }

    #[test]
    fn a_dev_of_the_users_is_left_as_it_is() {
        let plan = plan(default_mounts(), vec![Mount::bind("/dev", "/dev")]).unwrap();
        assert_eq!(destinations(&plan), ["/proc", "/sys", "/sys/fs/cgroup", "/dev"]);
    }

    #[test]
    fn some_places_are_refused() {
        for destination in ["/", "relative", "/proc", "/proc/self/attr", "/x/../proc/sys", "/x/.."] {
            assert!(plan(vec![], vec![Mount::bind("/x", destination)]).is_err(), "{destination}");
        }
        assert!(plan(vec![], vec![Mount::bind("/x", "/proc/meminfo")]).is_ok());
        assert!(plan(vec![], vec![Mount::bind("/x", "/a"), Mount::bind("/y", "/a/")]).is_err());
    }

    #[test]
    fn nothing_is_mounted_into_what_the_host_shares() {
        let mut shared = Mount::bind("/srv", "/data");
        shared.propagation = Propagation::Shared;
        assert!(plan(vec![], vec![shared.clone(), Mount::bind("/x", "/data/x")]).is_err());
        assert!(plan(vec![], vec![shared, Mount::bind("/x", "/database")]).is_ok());
    }
}
