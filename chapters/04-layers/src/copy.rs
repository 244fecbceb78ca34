//! Copying a tree into another directory: what is read from a mounted image, written as a layer's entries are.
//!
//! With everything that a layer may hold: owners, modes, times to the nanosecond, extended attributes, hard links among
//! themselves, symbolic links, FIFOs and devices. Both sides are descriptors, no link is followed on either.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};

use crate::entry::{Entry, EntryKind, Timestamp};
use crate::privilege::{OverlayXattrs, Owners};
use crate::tree::Tree;
use crate::walk::{Found, walk_in, xattrs_of};

/// Copies all that is in the directory `from` into the empty directory `to`, which gets `from`'s own owner, mode, times and
/// attributes. What the caller's rights do not let it keep (owners in a user namespace with one id, devices) is left out, as
/// where a layer is unpacked. Sockets are left out as well: they mean nothing without their process.
pub fn copy_tree(from: BorrowedFd<'_>, to: OwnedFd) -> Result<()> {
    let mut tree = Tree::at(to, Owners::permitted(), OverlayXattrs::permitted());
    let top = Attributes::of(from)?;
    // Names under which files with several were copied first.
    let mut first_names: HashMap<(u64, u64), (PathBuf, OsString)> = HashMap::new();
    walk_in(from, &mut |found| {
        let parent = found.path.parent().unwrap_or(Path::new(""));
        let id = (found.stat.st_dev, found.stat.st_ino);
        if found.kind() != FileType::Directory && found.stat.st_nlink > 1 {
            if let Some((first, name)) = first_names.get(&id) {
                return tree.hard_link(parent, found.name, (first, name), Timestamp::of(&found.stat));
            }
            first_names.insert(id, (parent.to_owned(), found.name.to_owned()));
        }
        put(&mut tree, parent, found)
    })?;
    tree.root(&top.0)?;
    tree.finish().map(drop)
}

/// What a directory is, but for what is in it: owner, mode, time, extended attributes.
#[derive(Debug, Clone)]
pub struct Attributes(Entry);

impl Attributes {
    /// Those of this directory.
    pub fn of(directory: BorrowedFd<'_>) -> Result<Attributes> {
        let stat = fstat(directory).context("look at the directory")?;
        let mut entry = Entry::of(&stat).context("a socket is no directory")?;
        entry.xattrs = xattrs_of(directory, ".".as_ref(), None)?;
        Ok(Attributes(entry))
    }

    /// Gives them to another one, as far as the caller's rights go.
    pub fn give_to(&self, directory: OwnedFd) -> Result<()> {
        let mut tree = Tree::at(directory, Owners::permitted(), OverlayXattrs::permitted());
        tree.root(&self.0)?;
        tree.finish().map(drop)
    }
}

fn put(tree: &mut Tree, parent: &Path, found: &Found<'_>) -> Result<()> {
    let Some(entry) = found.entry()? else { return Ok(()) };
    match entry.kind {
        EntryKind::Directory => tree.directory(parent, found.name, &entry),
        EntryKind::File => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut file = File::from(openat(found.dir, found.name, flags, Mode::empty()).context("open it")?);
            tree.file(parent, found.name, &entry, |copy| {
                let mut copy = File::from(copy.try_clone_to_owned().context("duplicate the descriptor")?);
                // Between two files this is copy_file_range(2): on file systems that can, the blocks are shared.
                io::copy(&mut file, &mut copy).map(drop).context("copy it")
            })
        }
        EntryKind::Symlink => tree.symlink(parent, found.name, &entry),
        EntryKind::Fifo | EntryKind::CharDevice(..) | EntryKind::BlockDevice(..) => {
            tree.node(parent, found.name, &entry)
        }
        EntryKind::HardLink => Ok(()), // no file is one by itself
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, hard_link, set_permissions, write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use rustix::fd::AsFd;
    use rustix::fs::{CWD, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat};

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn everything_comes_along() {
        let world = tempfile::tempdir().unwrap();
        let (from, to) = (world.path().join("from"), world.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir(&to).unwrap();
        write(from.join("a/file"), "content").unwrap();
        hard_link(from.join("a/file"), from.join("a/b/other name")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        mknodat(CWD, from.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
        lsetxattr(from.join("a/file"), "user.note", b"kept", XattrFlags::empty()).unwrap();
        set_permissions(from.join("a/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        set_permissions(from.join("a/b"), fs::Permissions::from_mode(0o500)).unwrap();
        set_permissions(&from, fs::Permissions::from_mode(0o1770)).unwrap();
        let time = Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: time, last_modification: time };
        for path in ["a/file", "a/b", "link", "a", ""] {
            rustix::fs::utimensat(CWD, from.join(path), &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
        copy_tree(open(&from).as_fd(), open(&to)).unwrap();
        for path in ["", "a", "a/b", "a/file", "a/b/other name", "link", "fifo"] {
            let (one, other) = (from.join(path).symlink_metadata().unwrap(), to.join(path).symlink_metadata().unwrap());
            assert_eq!((one.mode(), one.uid(), one.gid()), (other.mode(), other.uid(), other.gid()), "{path}");
            assert_eq!((one.mtime(), one.mtime_nsec()), (other.mtime(), other.mtime_nsec()), "{path}");
        }
        assert_eq!(fs::read(to.join("a/file")).unwrap(), b"content");
        let inode = |path: &str| to.join(path).metadata().unwrap().ino();
        assert_eq!(inode("a/file"), inode("a/b/other name"));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        let mut value = [0; 8];
        let length = rustix::fs::lgetxattr(to.join("a/file"), "user.note", &mut value).unwrap();
        assert_eq!(&value[..length], b"kept");
        set_permissions(to.join("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
        set_permissions(from.join("a/b"), fs::Permissions::from_mode(0o700)).unwrap();
    }
}
