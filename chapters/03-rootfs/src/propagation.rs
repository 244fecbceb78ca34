//! How mounts that appear later spread, and what the host's side of a bind must be for that.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::mount::MountPropagationFlags;

/// How mounts that appear later on one side of a bind are seen on the other (`mount_namespaces(7)`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the host into the container.
    Slave,
    /// Both ways.
    Shared,
}

impl Propagation {
    /// The type that a clone of a mount is given. A clone is in its original's peer group, so that shared needs no change.
    pub(crate) fn flag(self) -> Option<MountPropagationFlags> {
        match self {
            Self::Private => Some(MountPropagationFlags::PRIVATE),
            Self::Slave => Some(MountPropagationFlags::DOWNSTREAM),
            Self::Shared => None,
        }
    }

    /// Fails if the mount that `source` lies on has nothing to spread: the kernel would not mind, and the user wait for
    /// mounts that never come. The same check as Docker's.
    pub(crate) fn check(self, source: &Path) -> Result<()> {
        if self == Self::Private {
            return Ok(());
        }
        let (mount_point, peers) = peers(source)?;
        let (path, on) = (source.display(), mount_point.display());
        match self {
            Self::Shared if !peers.shared => bail!(
                "path {path} is mounted on {on} but it is not a shared mount (make it one by mount --make-rshared {on}, \
                 or use rslave or rprivate)"
            ),
            Self::Slave if !peers.shared && !peers.slave => bail!(
                "path {path} is mounted on {on} but it is not a shared or slave mount (make it one by \
                 mount --make-rshared {on}, or use rprivate)"
            ),
            _ => Ok(()),
        }
    }
}

/// Which peer groups a mount is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Peers {
    shared: bool,
    slave: bool,
}

/// The mount point that `path` lies below, and the peer groups of what is mounted there.
fn peers(path: &Path) -> Result<(PathBuf, Peers)> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)
        .with_context(|| format!("look for the mount of {}", path.display()))?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    table
        .lines()
        .find_map(|line| read(line, found.stx_mnt_id))
        .with_context(|| format!("the mount of {} is not in our mount namespace", path.display()))
}

/// Mount point and peer groups from a line of `/proc/PID/mountinfo`, if it is about the mount `id`:
/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw` (`proc_pid_mountinfo(5)`).
fn read(line: &str, id: u64) -> Option<(PathBuf, Peers)> {
    let mut fields = line.split(' ');
    if fields.next()?.parse() != Ok(id) {
        return None;
    }
    let mount_point = fields.nth(3)?.into();
    let mut peers = Peers::default();
    for field in fields.skip(1).take_while(|field| *field != "-") {
        peers.shared |= field.starts_with("shared:");
        peers.slave |= field.starts_with("master:");
    }
    Some((mount_point, peers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_groups_are_read() {
        let line = |groups: &str| format!("36 35 98:0 /mnt1 /mnt2 rw,noatime{groups} - ext3 /dev/root rw");
        let groups = |text: &str| read(&line(text), 36).unwrap().1;
        assert_eq!(groups(""), Peers { shared: false, slave: false });
        assert_eq!(groups(" shared:2"), Peers { shared: true, slave: false });
        assert_eq!(groups(" master:1 propagate_from:3"), Peers { shared: false, slave: true });
        assert_eq!(groups(" master:1 shared:2"), Peers { shared: true, slave: true });
        assert_eq!(read(&line(""), 36).unwrap().0, Path::new("/mnt2"));
        assert_eq!(read(&line(""), 3), None);
        assert_eq!(read("nonsense", 3), None);
    }

    #[test]
    fn every_path_lies_on_a_mount() {
        assert!(peers(Path::new("/proc/self")).unwrap().0.starts_with("/proc"));
        assert!(peers(Path::new("/no/such/path")).is_err());
    }
}
