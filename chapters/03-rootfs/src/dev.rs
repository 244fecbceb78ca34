//! `/dev`: a handful of device nodes and links, on a tmpfs of the container's own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::attach::put;
use crate::filesystem::clone_tree;
use crate::in_root::{create_in_root, mkdir_all_in_root};
use crate::mount::Propagation;
use crate::sys::Reach;

/// The nodes of every container: name, major, minor (the kernel's devices.txt; the runtime-spec's "Default Devices").
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links of every container: name, target.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// A device node that a container has besides the usual ones (`--device`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where it is made, inside.
    pub path: PathBuf,
    /// Where the host has it: what a user namespace, which may not make nodes, binds instead.
    pub host_path: PathBuf,
    /// A block device, else a character device.
    pub block: bool,
    /// What kind of device.
    pub major: u32,
    /// Which one of its kind.
    pub minor: u32,
    /// Permission bits, as 0o666.
    pub mode: u32,
    /// The owner, inside.
    pub uid: u32,
    /// The owning group, inside.
    pub gid: u32,
}

/// Fills the empty `/dev` of a container. `dev` is its tmpfs, attached already: a node cannot be bound into a tree that is not.
pub(crate) fn populate(dev: BorrowedFd<'_>) -> Result<()> {
    for (name, major, minor) in NODES {
        let host_path = Path::new("/dev").join(name);
        let path = host_path.clone();
        Device { path, host_path, block: false, major, minor, mode: 0o666, uid: 0, gid: 0 }.make_in(dev)?;
    }
    for (name, target) in LINKS {
        fs::symlinkat(target, dev, name).with_context(|| format!("make the link /dev/{name}"))?;
    }
    Ok(())
}

impl Device {
    /// Makes the node inside `root`, and the directories to it.
    ///
    /// Called in the child, before the pivot, with a umask of 0.
    pub(crate) fn make(&self, root: BorrowedFd<'_>) -> Result<()> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let directory = mkdir_all_in_root(root, parent, Mode::from_raw_mode(0o755))
            .with_context(|| format!("make the directory of {}", self.path.display()))?;
        self.make_in(directory.as_fd())
    }

    /// Makes the node in its `directory`: anew where that is allowed, and cloned from the host in a user namespace.
    fn make_in(&self, directory: BorrowedFd<'_>) -> Result<()> {
        let name = self.path.file_name().with_context(|| format!("{} is no name for a device", self.path.display()))?;
        let number = fs::makedev(self.major, self.minor);
        match fs::mknodat(directory, name, self.file_type(), Mode::from_raw_mode(self.mode), number) {
            Ok(()) => self.give_to_owner(directory, name),
            Err(Errno::PERM) => {
                self.bind(directory, name).with_context(|| format!("bind {}", self.host_path.display()))
            }
            Err(Errno::EXIST) if self.is(&fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("make the device {}", self.path.display())),
        }
    }

    fn give_to_owner(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        if self.uid == 0 && self.gid == 0 {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .with_context(|| format!("chown {}", self.path.display()))
    }

    /// Mounts the host's node over an empty file: a node that a user namespace makes would not open, this one does.
    fn bind(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let node = self.open_host()?;
        let tree = clone_tree(node.as_fd(), "", Reach::Mount, MountAttrFlags::empty(), Propagation::Private)?;
        let place = create_in_root(directory, name, Mode::from_raw_mode(0o666))?;
        put(tree.as_fd(), place.as_fd())
    }

    /// Opens the host's node (O_PATH), and makes sure that it is the device that it should be.
    fn open_host(&self) -> Result<OwnedFd> {
        let node = fs::openat(CWD, &self.host_path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("open {}", self.host_path.display()))?;
        ensure!(
            self.is(&fs::fstat(&node)?),
            "{} is not the device {}:{}",
            self.host_path.display(),
            self.major,
            self.minor
        );
        Ok(node)
    }

    fn is(&self, stat: &Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == self.file_type()
            && (fs::major(stat.st_rdev), fs::minor(stat.st_rdev)) == (self.major, self.minor)
    }

    fn file_type(&self) -> FileType {
        if self.block { FileType::BlockDevice } else { FileType::CharacterDevice }
    }
}

/// The host's `/dev/null` (O_PATH), verified: what hides files. Never one from inside the container, which could be
/// anything (CVE-2025-31133).
pub(crate) fn host_null() -> Result<OwnedFd> {
    let null = Device {
        path: "/dev/null".into(),
        host_path: "/dev/null".into(),
        block: false,
        major: 1,
        minor: 3,
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    null.open_host()
}
