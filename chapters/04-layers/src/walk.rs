//! Walking over a layer in overlayfs's form, in an order that does not depend on the file system.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rootfs::open_root;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, lgetxattr, llistxattr, openat, statat};
use rustix::io::Errno;

use crate::name::MAX_DEPTH;
use crate::privilege::OverlayXattrs;
use crate::remove::names;
use crate::tree::is_whiteout;

/// Something found on the walk.
pub(crate) struct Found<'a> {
    /// Its path, relative to the layer's root.
    pub(crate) path: &'a Path,
    /// The directory it is in.
    pub(crate) dir: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a OsStr,
    /// What it is.
    pub(crate) stat: Stat,
}

/// Calls `visit` for everything below `root`: sorted by name, a directory before what is in it. No link is followed.
pub(crate) fn walk(root: &Path, visit: &mut dyn FnMut(&Found<'_>) -> Result<()>) -> Result<()> {
    let context = || format!("open the directory {}", root.display());
    let fd = open_root(root).with_context(context)?;
    let fd =
        openat(fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).with_context(context)?;
    walk_in(fd.as_fd(), Path::new(""), 0, visit)
}

/// Keeps a descriptor for each level; a process may have 1024, and unpacking knows no deeper trees either.
fn walk_in(
    dir: BorrowedFd<'_>,
    directory: &Path,
    depth: usize,
    visit: &mut dyn FnMut(&Found<'_>) -> Result<()>,
) -> Result<()> {
    ensure!(depth <= MAX_DEPTH, "directories are nested more than {MAX_DEPTH} deep, which no layer may be");
    let mut children = names(dir).with_context(|| format!("read the directory {directory:?}"))?;
    children.sort();
    for name in children {
        let path = directory.join(&name);
        let look = || -> Result<Option<Stat>> {
            match statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(None), // a running container removed it meanwhile
                stat => Ok(Some(stat?)),
            }
        };
        let Some(stat) = look().with_context(|| format!("look at {path:?}"))? else { continue };
        let found = Found { path: &path, dir, name: &name, stat };
        visit(&found).with_context(|| format!("{path:?}"))?;
        if found.kind() == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = openat(dir, &name, flags, Mode::empty()).with_context(|| format!("open {path:?}"))?;
            walk_in(inner.as_fd(), &path, depth + 1, visit)?;
        }
    }
    Ok(())
}

impl Found<'_> {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(crate) fn is_whiteout(&self) -> bool {
        is_whiteout(&self.stat)
    }

    /// Whether it is a directory that hides what the layers below have in it.
    pub(crate) fn is_opaque(&self) -> bool {
        self.kind() == FileType::Directory && is_opaque(self.dir, self.name)
    }

    /// Its extended attributes, sorted, without those that belong to this machine rather than to the file: overlayfs's
    /// notes, security labels and measurements (`security.selinux`, `security.ima` …; capabilities are the file's own).
    pub(crate) fn xattrs(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let path = descriptor_path(self.dir, self.name);
        // xattr(7): a list of names has at most 64 KiB, and so has a value.
        let mut list = vec![0; 64 << 10];
        let length = match llistxattr(&path, &mut list[..]) {
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            length => length.context("list its extended attributes")?,
        };
        let mut xattrs = Vec::new();
        let mut value = Vec::new();
        for name in list[..length].split(|&byte| byte == 0).filter(|name| is_portable(name)) {
            value.resize(64 << 10, 0);
            match lgetxattr(&path, name, &mut value[..]) {
                Err(Errno::NODATA) => {}
                length => xattrs.push((name.to_vec(), value[..length.context("read an extended attribute")?].to_vec())),
            }
        }
        xattrs.sort();
        Ok(xattrs)
    }
}

fn is_portable(name: &[u8]) -> bool {
    let local = OverlayXattrs::reserved(name) || name.starts_with(b"security.") && name != b"security.capability";
    !name.is_empty() && !local
}

/// Whether the directory `name` in `dir` is marked opaque, by whoever mounted it.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    let path = descriptor_path(dir, name);
    let marked = |xattrs: OverlayXattrs| {
        let mut value = [0; 2];
        matches!(lgetxattr(&path, xattrs.opaque(), &mut value[..]), Ok(1)) && value[0] == b'y'
    };
    marked(OverlayXattrs::Trusted) || marked(OverlayXattrs::User)
}

/// A path for the calls that know no `…at` form (extended attributes, before Linux 6.13): the first part is our own open
/// directory, and the last is not followed.
pub(crate) fn descriptor_path(dir: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    std::ffi::OsString::from_vec(path).into()
}
