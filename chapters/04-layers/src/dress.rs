//! Giving a file what its archive says it has: owner, mode, extended attributes, time.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr, futimens,
    lsetxattr, utimensat,
};
use rustix::io::Errno;

use crate::entry::{Entry, EntryKind, Timestamp};
use crate::privilege::{OverlayXattrs, Owners, is_portable};

/// Who dresses files, and what they may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dresser {
    pub(crate) owners: Owners,
    pub(crate) xattrs: OverlayXattrs,
}

/// What could not be given for lack of rights.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) owner: bool,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Missing {
    pub(crate) fn anything(&self) -> bool {
        self.owner || !self.xattrs.is_empty()
    }
}

impl Dresser {
    /// A regular file, open.
    pub(crate) fn file(&self, file: &OwnedFd, entry: &Entry) -> Result<Missing> {
        // In this order: chown(2) clears set-uid and capabilities, chmod(2) does not touch the latter, and all of them
        // change the time of the last change but not that of the last modification.
        let owner = self.owner(entry, |uid, gid| fchown(file, uid, gid))?;
        fchmod(file, Mode::from_raw_mode(entry.mode)).context("chmod")?;
        let xattrs = self.xattrs(entry, |name, value| fsetxattr(file, name, value, XattrFlags::empty()))?;
        futimens(file, &times(entry.mtime)).context("set its time")?;
        Ok(Missing { owner, xattrs })
    }

    /// A directory, open. Its mode and time come later, when what is in it is there.
    pub(crate) fn directory(&self, directory: &OwnedFd, entry: &Entry) -> Result<Missing> {
        let owner = self.owner(entry, |uid, gid| fchown(directory, uid, gid))?;
        let xattrs = self.xattrs(entry, |name, value| fsetxattr(directory, name, value, XattrFlags::empty()))?;
        Ok(Missing { owner, xattrs })
    }

    /// What cannot be opened without consequences: `name` in `dir`, a link, a FIFO, a device, made just now.
    pub(crate) fn other(&self, dir: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<Missing> {
        let owner = self.owner(entry, |uid, gid| chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
        if entry.kind != EntryKind::Symlink {
            // chmod(2) follows links; but what has this name was made a moment ago, and nobody else writes here.
            chmodat(dir, name, Mode::from_raw_mode(entry.mode), AtFlags::empty()).context("chmod")?;
        }
        // There is no setxattrat(2) before Linux 6.13. The first part of this path is our own open directory, the last
        // is not followed.
        let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
        let xattrs = self.xattrs(entry, |name, value| lsetxattr(&path, name, value, XattrFlags::empty()))?;
        utimensat(dir, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW).context("set its time")?;
        Ok(Missing { owner, xattrs })
    }

    /// A directory hides what the layers below have in it.
    pub(crate) fn opaque(&self, directory: &OwnedFd) -> Result<()> {
        let name = self.xattrs.opaque();
        fsetxattr(directory, name, b"y", XattrFlags::empty())
            .with_context(|| format!("mark it as opaque ({})", name.display()))
    }

    /// Sets the owner; `true` if that is not ours to do.
    fn owner(&self, entry: &Entry, chown: impl Fn(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>) -> Result<bool> {
        let &Entry { uid, gid, .. } = entry;
        if self.owners == Owners::Skip {
            return Ok((uid, gid) != (0, 0));
        }
        match chown(Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
            Err(Errno::INVAL) => Err(Errno::INVAL).with_context(|| {
                format!("chown to {uid}:{gid}: this user namespace has no such ids (map more of them, see /etc/subuid)")
            }),
            done => done.with_context(|| format!("chown to {uid}:{gid}")).map(|()| false),
        }
    }

    /// Sets the extended attributes that an image may set, and gives back those that it may but we may not.
    ///
    /// What no file system keeps for such a file is lost, as it is to Docker.
    fn xattrs(
        &self,
        entry: &Entry,
        set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut missing = Vec::new();
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_portable(name)) {
            match set(name, value) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                // xattr(7): user.* belongs on files and directories only.
                Err(Errno::PERM) if name.starts_with(b"user.") => {}
                Err(Errno::PERM) if self.owners == Owners::Skip || self.xattrs == OverlayXattrs::User => {
                    missing.push((name.clone(), value.clone()));
                }
                Err(error) => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    return Err(error).with_context(|| format!("set the extended attribute {name:?}"));
                }
            }
        }
        Ok(missing)
    }
}

/// The access time is set to the same: the archive has none, and "now" would make two unpackings differ.
pub(crate) fn times(mtime: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
