//! Walking over a layer in overlayfs's form, in an order that does not depend on the file system.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rootfs::open_root;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, lgetxattr, llistxattr, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::entry::{Entry, EntryKind};
use crate::ids::Ids;
use crate::name::MAX_DEPTH;
use crate::privilege::{OverlayXattrs, is_portable};
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
    /// What it is. Its owners are the container's: see [`crate::ids`].
    pub(crate) stat: Stat,
    ids: Option<&'a Ids>,
}

/// Calls `visit` for everything below `root`: sorted by name, a directory before what is in it. No link is followed.
pub(crate) fn walk(root: &Path, visit: &mut dyn FnMut(&Found<'_>) -> Result<()>) -> Result<()> {
    let context = || format!("open the directory {}", root.display());
    let fd = open_root(root).with_context(context)?;
    let fd =
        openat(fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).with_context(context)?;
    let ids = Ids::beside(root)?;
    walk_level(fd.as_fd(), Path::new(""), 0, ids.as_ref(), visit)
}

/// The same below an open directory, whose owners are what they are.
pub(crate) fn walk_in(root: BorrowedFd<'_>, visit: &mut dyn FnMut(&Found<'_>) -> Result<()>) -> Result<()> {
    walk_level(root, Path::new(""), 0, None, visit)
}

/// Keeps a descriptor for each level; a process may have 1024, and unpacking knows no deeper trees either.
fn walk_level(
    dir: BorrowedFd<'_>,
    directory: &Path,
    depth: usize,
    ids: Option<&Ids>,
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
        let Some(mut stat) = look().with_context(|| format!("look at {path:?}"))? else { continue };
        (stat.st_uid, stat.st_gid) = seen_inside(ids, &stat);
        let found = Found { path: &path, dir, name: &name, stat, ids };
        visit(&found).with_context(|| format!("{path:?}"))?;
        if found.kind() == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = openat(dir, &name, flags, Mode::empty()).with_context(|| format!("open {path:?}"))?;
            walk_level(inner.as_fd(), &path, depth + 1, ids, visit)?;
        }
    }
    Ok(())
}

/// Owner and group of a file as its container knows them.
pub(crate) fn seen_inside(ids: Option<&Ids>, stat: &Stat) -> (u32, u32) {
    let root_if = |id: u32, ours: u32| if id == ours { 0 } else { id };
    match ids {
        Some(ids) => ids.inside(stat.st_uid, stat.st_gid),
        // An ordinary user's files are what the container knows as root's.
        None => (root_if(stat.st_uid, geteuid().as_raw()), root_if(stat.st_gid, getegid().as_raw())),
    }
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

    /// What an archive would say of it, but for its name. `None` for what an archive has no entry for.
    pub(crate) fn entry(&self) -> Result<Option<Entry>> {
        let Some(mut entry) = Entry::of(&self.stat) else { return Ok(None) };
        if entry.kind == EntryKind::Symlink {
            entry.link = readlinkat(self.dir, self.name, Vec::new()).context("read the link")?.into_bytes();
        }
        entry.xattrs = self.xattrs()?;
        Ok(Some(entry))
    }

    /// Its extended attributes: see [`xattrs_of`].
    pub(crate) fn xattrs(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        xattrs_of(self.dir, self.name, self.ids)
    }
}

/// The extended attributes of `name` in `dir`, sorted, without those that belong to this machine rather than to the file:
/// overlayfs's notes, security labels and measurements (`security.selinux`, `security.ima` …; capabilities are the file's
/// own).
pub(crate) fn xattrs_of(dir: BorrowedFd<'_>, name: &OsStr, ids: Option<&Ids>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = descriptor_path(dir, name);
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
            length => {
                let value = &value[..length.context("read an extended attribute")?];
                let value = if name == b"security.capability" { capability(value, ids) } else { value.to_vec() };
                xattrs.push((name.to_vec(), value));
            }
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

/// A file capability that was given in a user namespace has that namespace's root in it (revision 3 of
/// `struct vfs_ns_cap_data`, `capabilities(7)`). For the container it is one of plain root, as in revision 2.
fn capability(value: &[u8], ids: Option<&Ids>) -> Vec<u8> {
    if let (Some(ids), Some((&[a, b, c, 3], rest))) = (ids, value.split_first_chunk())
        && let Some((data, root)) = rest.split_last_chunk()
        && ids.inside(u32::from_le_bytes(*root), 0).0 == 0
    {
        return [&[a, b, c, 2], data].concat();
    }
    value.to_vec()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_the_namespace_they_were_given_in() {
        let ids: Ids = serde_json::from_str(r#"{"uids":[{"inside":0,"outside":100000,"count":9}],"gids":[]}"#).unwrap();
        let plain = [[1, 0, 0, 2], [0, 4, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
        let rooted = |root: u32| [[1, 0, 0, 3], [0, 4, 0, 0], [0; 4], [0; 4], [0; 4], root.to_le_bytes()].concat();
        assert_eq!(capability(&rooted(100_000), Some(&ids)), plain);
        for other in [rooted(100_001), plain, b"\x01\0\0\x03".to_vec(), b"\x03".to_vec(), Vec::new()] {
            assert_eq!(capability(&other, Some(&ids)), other);
        }
        assert_eq!(capability(&rooted(100_000), None), rooted(100_000));
    }
}
