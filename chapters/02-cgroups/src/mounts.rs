//! Where cgroup trees are mounted.

use std::path::PathBuf;

/// A mount of a cgroup tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    pub(crate) point: PathBuf,
    device: (u32, u32),
    pub(crate) v2: bool,
    /// The options of the file system; for v1 they name its controllers.
    pub(crate) options: String,
}

impl CgroupMount {
    /// Whether this mount is what one meets at its mount point. Others may cover it: a container's engine mounts a
    /// tmpfs and its own trees over those of the host, and both are listed.
    pub(crate) fn is_visible(&self) -> bool {
        let Ok(stat) = rustix::fs::stat(&self.point) else { return false };
        (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev)) == self.device
    }
}

/// The cgroup mounts in a `mountinfo` file, of which `proc_pid_mountinfo(5)` shows the format:
///
/// ```text
/// 35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
/// id parent device root point options [optional…] - type source options
/// ```
///
/// The root is `/` or, where a subtree is mounted, as in a container, its path; in a cgroup namespace it may even read
/// `/..`. It does not matter here: we go by mount points.
pub(crate) fn cgroup_mounts(mountinfo: &str) -> impl Iterator<Item = CgroupMount> {
    mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        let v2 = match filesystem.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let options = filesystem.nth(1).unwrap_or_default().to_owned();
        let mut mount = mount.split(' ').skip(2);
        let (major, minor) = mount.next()?.split_once(':')?;
        let device = (major.parse().ok()?, minor.parse().ok()?);
        Some(CgroupMount { point: unescape(mount.nth(1)?), device, v2, options })
    })
}

/// Undoes the kernel's `\040` for a space (and tab, newline, backslash).
fn unescape(text: &str) -> PathBuf {
    if !text.contains('\\') {
        return text.into();
    }
    let text = text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_mount() {
        for line in ["", " - ", "1 2 3 - cgroup", "a b c:d / /x rw - cgroup cgroup rw,pids", "1 2 0:1 - cgroup2 x rw"] {
            assert_eq!(cgroup_mounts(line).count(), 0, "{line}");
        }
    }
}
