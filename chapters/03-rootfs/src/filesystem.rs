//! Making mounts that are attached nowhere yet: new instances of a filesystem, and clones of a tree of the host.
//!
//! The new mount API (`fsopen(2)`, `fsmount(2)`, `open_tree(2)`; Linux 5.2) does in steps what `mount(2)` does in one, and each
//! step has its own errno. What comes out is a descriptor: attributes are set before anybody can look inside, and where it
//! is attached is a question for later ([`attach`](crate::attach)).

use std::error::Error;
use std::fmt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};
use rustix::path::Arg;

use crate::propagation::Propagation;
use crate::sys::{Reach, mount_setattr};

/// A new instance of the filesystem `kind`, attached nowhere. `data` are its options, `key=value` or `key`.
pub(crate) fn new_filesystem<S: AsRef<str>>(
    kind: &str,
    data: &[S],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Refused> {
    new_filesystem_called(kind, kind, data, attributes)
}

/// The same, with a name of its own for what `mount` and `df` print as the device.
pub(crate) fn new_filesystem_called<S: AsRef<str>>(
    kind: &str,
    name: &str,
    data: &[S],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Refused> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| Refused::new(kind, "fsopen", errno))?;
    fsconfig_set_string(&context, "source", name).map_err(|errno| Refused::new(kind, "source", errno))?;
    for option in data {
        let set = match option.as_ref().split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value),
            None => fsconfig_set_flag(&context, option.as_ref()),
        };
        set.map_err(|errno| Refused::new(kind, option.as_ref(), errno).in_words_of(&context))?;
    }
    fsconfig_create(&context).map_err(|errno| Refused::new(kind, "fsconfig", errno).in_words_of(&context))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|errno| Refused::new(kind, "fsmount", errno).in_words_of(&context))
}

/// A copy of the mount at `path` (relative to `dir`; empty: `dir` itself), attached nowhere, with these attributes added.
///
/// EPERM: the caller's mount namespace is not the caller's to change. EINVAL: `path` lies in another mount namespace, or
/// mounts below it are locked, which a user namespace gets only together with what they cover, that is, recursively.
pub(crate) fn clone_tree(
    dir: BorrowedFd<'_>,
    path: impl Arg,
    reach: Reach,
    attributes: MountAttrFlags,
    propagation: Propagation,
) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if reach == Reach::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(dir, path, flags)?;
    // A clone is in the peer group of its original until it is told otherwise; before it is attached, nobody notices.
    mount_setattr(tree.as_fd(), c"", reach, attributes, propagation.flag())?;
    Ok(tree)
}

/// The host's own instance of a filesystem, with all that is mounted in it.
///
/// Called before the pivot, when the host's tree is still there. For what a user namespace may not make anew: an instance
/// of procfs, sysfs or mqueue belongs to a PID, network or IPC namespace, and only the owner of that one may mount it.
pub(crate) fn host_instance(path: &Path, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    clone_tree(CWD, path, Reach::Tree, attributes, Propagation::Private)
}

/// Why the kernel made no filesystem.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) errno: Errno,
    kind: String,
    step: String,
    log: String,
}

impl Refused {
    fn new(kind: &str, step: &str, errno: Errno) -> Self {
        Self { errno, kind: kind.to_owned(), step: step.to_owned(), log: String::new() }
    }

    /// Adds what the filesystem has to say about it: the descriptor of `fsopen(2)` can be read, one message at a time, as
    /// `e tmpfs: Bad value for 'size'`.
    fn in_words_of(mut self, context: &OwnedFd) -> Self {
        let mut buffer = [0; 256];
        while let Ok(length) = rustix::io::read(context, &mut buffer) {
            let Some(message) = buffer.get(2..length) else { break };
            let separator = if self.log.is_empty() { "" } else { "; " };
            self.log = format!("{}{separator}{}", self.log, String::from_utf8_lossy(message).trim_end());
        }
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.log.is_empty() {
            write!(f, "{} ({}, {})", std::io::Error::from(self.errno), self.kind, self.step)
        } else {
            write!(f, "{} ({})", std::io::Error::from(self.errno), self.log)
        }
    }
}

impl Error for Refused {}
