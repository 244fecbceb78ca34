//! Hiding and write-protecting what the kernel shows too much of in `/proc` and `/sys`.
//!
//! Namespaces do not cover these files: `/proc/kcore` is the memory of the whole machine, and a write to
//! `/proc/sysrq-trigger` reboots it. A process with CAP_SYS_ADMIN in the container could take the mounts away again;
//! Docker's containers do not have it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::mount::MountAttrFlags as Attr;

use crate::attach::put;
use crate::dev::host_null;
use crate::filesystem::{clone_tree, new_filesystem};
use crate::in_root::open_in_root_nofollow;
use crate::propagation::Propagation;
use crate::sys::Reach;

/// What Docker hides (moby's `DefaultLinuxSpec`, August 2026).
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What Docker makes read-only.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Docker's list of what is hidden, on this machine: the throttling counters of each of its processors belong to it
/// (a side channel, GHSA-6fw5-f8r9-fgfm), where it has them.
pub fn default_masked_paths() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = MASKED.iter().map(PathBuf::from).collect();
    // One look is enough where there are none: on virtual machines, mostly.
    let cpus = Path::new("/sys/devices/system/cpu");
    if cpus.join("cpu0/thermal_throttle").exists() {
        let entries = fs::read_dir(cpus).into_iter().flatten().flatten();
        paths.extend(entries.map(|entry| entry.path().join("thermal_throttle")).filter(|path| path.exists()));
    }
    paths
}

/// Docker's list of what is read-only.
pub fn default_readonly_paths() -> Vec<PathBuf> {
    READONLY.iter().map(PathBuf::from).collect()
}

/// Hides `paths` inside `root`: files under the host's `/dev/null`, directories under one empty read-only tmpfs.
///
/// What does not exist needs no hiding. Any other failure is fatal: a container without its masks must not run
/// (CVE-2025-31133). Called in the child, before the pivot.
pub(crate) fn mask(root: BorrowedFd<'_>, paths: &[PathBuf]) -> Result<()> {
    let mut covers = Covers { null: None, empty: None };
    for path in paths {
        if let Some(place) = find(root, path)? {
            covers.hide(place.as_fd()).with_context(|| format!("mask {}", path.display()))?;
        }
    }
    Ok(())
}

/// Mounts `paths` inside `root` over themselves, read-only. Called in the child, before the pivot.
pub(crate) fn make_read_only(root: BorrowedFd<'_>, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let Some(place) = find(root, path)? else { continue };
        clone_tree(place.as_fd(), "", Reach::Tree, Attr::MOUNT_ATTR_RDONLY, Propagation::Private)
            .map_err(anyhow::Error::new)
            .and_then(|tree| put(tree.as_fd(), place.as_fd()))
            .with_context(|| format!("make {} read-only", path.display()))?;
    }
    Ok(())
}

/// Opens what is at `path`, if anything is. No links: what would be hidden is what they point to, and not they.
fn find(root: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>> {
    match open_in_root_nofollow(root, path, OFlags::PATH) {
        Ok(place) => Ok(Some(place)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("look for {}", path.display())),
    }
}

/// What is mounted over hidden things, opened when the first needs it.
struct Covers {
    /// The host's `/dev/null`.
    null: Option<OwnedFd>,
    /// An empty directory, attached over the first hidden one. From there it can be cloned for the others: a mount that
    /// is attached nowhere cannot.
    empty: Option<OwnedFd>,
}

impl Covers {
    fn hide(&mut self, place: BorrowedFd<'_>) -> Result<()> {
        if FileType::from_raw_mode(fstat(place)?.st_mode) == FileType::Directory {
            return self.hide_directory(place);
        }
        let null = match self.null.take() {
            Some(null) => null,
            None => host_null()?,
        };
        // Read-only: it is the host's own file, whose mode and owner root inside could change by the masked name.
        let cover = clone_tree(null.as_fd(), "", Reach::Mount, Attr::MOUNT_ATTR_RDONLY, Propagation::Private);
        put(cover.context("clone /dev/null")?.as_fd(), place)?;
        self.null = Some(null);
        Ok(())
    }

    fn hide_directory(&mut self, place: BorrowedFd<'_>) -> Result<()> {
        if let Some(empty) = &self.empty {
            let cover = clone_tree(empty.as_fd(), "", Reach::Mount, Attr::empty(), Propagation::Private);
            return put(cover.context("clone an empty directory")?.as_fd(), place);
        }
        let all = Attr::MOUNT_ATTR_RDONLY | Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV | Attr::MOUNT_ATTR_NOEXEC;
        let empty = new_filesystem("tmpfs", &["nr_blocks=1", "nr_inodes=2", "mode=755"], all)?;
        put(empty.as_fd(), place)?;
        self.empty = Some(empty);
        Ok(())
    }
}
