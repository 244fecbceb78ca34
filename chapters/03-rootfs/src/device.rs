//! A device node: made where that is allowed, cloned from the host where it is not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cgroups::DeviceRule;
use cgroups::devices::{DeviceKind, MKNOD, READ, WRITE};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::attach::put;
use crate::filesystem::clone_tree;
use crate::in_root::{create_in_root, mkdir_all_in_root};
use crate::propagation::Propagation;
use crate::sys::Reach;

/// A device node that a container has.
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
    /// What may be done with it, of [`MKNOD`], [`READ`] and [`WRITE`]: a matter of the device cgroup.
    pub access: u32,
}

impl Device {
    /// A character device of the machine that everybody may use, in `/dev`.
    pub(crate) fn usual(name: &str, major: u32, minor: u32) -> Self {
        let host_path = Path::new("/dev").join(name);
        let access = MKNOD | READ | WRITE;
        Self { path: host_path.clone(), host_path, block: false, major, minor, mode: 0o666, uid: 0, gid: 0, access }
    }

    /// The rule of the device cgroup without which the node is there and does not open.
    pub fn rule(&self) -> DeviceRule {
        DeviceRule {
            kind: if self.block { DeviceKind::Block } else { DeviceKind::Character },
            major: Some(self.major),
            minor: Some(self.minor),
            access: self.access,
        }
    }

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
    pub(crate) fn make_in(&self, directory: BorrowedFd<'_>) -> Result<()> {
        let name = self.path.file_name().with_context(|| format!("{} is no name for a device", self.path.display()))?;
        let number = fs::makedev(self.major, self.minor);
        match fs::mknodat(directory, name, self.file_type(), Mode::from_raw_mode(self.mode), number) {
            Ok(()) => self.give_to_owner(directory, name),
            Err(Errno::PERM) => self.bind_here(directory, name),
            // Left by an earlier start, in a directory that outlives it: the node, or a file that the node was bound over.
            Err(Errno::EXIST) => match fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)? {
                there if self.is(&there) => Ok(()),
                there if FileType::from_raw_mode(there.st_mode) == FileType::RegularFile => {
                    self.bind_here(directory, name)
                }
                _ => bail!("{} is there already, and something else", self.path.display()),
            },
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
    fn bind_here(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let bind = || {
            let node = self.open_host()?;
            let tree = clone_tree(node.as_fd(), "", Reach::Mount, MountAttrFlags::empty(), Propagation::Private)?;
            let place = create_in_root(directory, name, Mode::from_raw_mode(0o666))?;
            put(tree.as_fd(), place.as_fd())
        };
        bind().with_context(|| format!("bind {}", self.host_path.display()))
    }

    /// Opens the host's node (O_PATH), and makes sure that it is the device that it should be.
    pub(crate) fn open_host(&self) -> Result<OwnedFd> {
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
