//! The directory that a layer is unpacked into, written to as an attacker's archive demands and never outside.
//!
//! Nothing here joins a name to a path. A directory is opened by `openat2(RESOLVE_IN_ROOT)`, which takes the layer's root
//! for `/` at each link and each `..` on the way, and what is in it is made by its name in that directory: with calls that
//! do not follow a last component (`mkdirat`, `symlinkat`, `linkat`, `mknodat`) or are told not to (`O_NOFOLLOW`).
//! The archive may so make a link to `/etc` and then a file below it: the file lands in the layer's own `/etc`.

mod directories;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use rootfs::{open_in_root, open_root};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, linkat, makedev, mknodat, openat, readlink, statat, symlinkat,
};
use rustix::io::Errno;

use crate::dress::{Dresser, Missing};
use crate::entry::{Entry, EntryKind, Timestamp};
use crate::notes::Notes;
use crate::privilege::{OverlayXattrs, Owners};

/// A tree being written. Attributes of directories are kept until [`Tree::finish`]: writing into a directory changes its
/// time, and without root one may not write into a directory that is to be read-only.
pub(crate) struct Tree {
    root: OwnedFd,
    dresser: Dresser,
    directories: BTreeMap<PathBuf, (Mode, Timestamp)>,
    /// Bytes of their names.
    names: usize,
    notes: Notes,
    /// The directory opened last. Entries come sorted, so it is nearly always the one that the next needs.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
}

impl Tree {
    pub(crate) fn open(root: &Path, owners: Owners, xattrs: OverlayXattrs) -> Result<Tree> {
        let root = open_root(root).with_context(|| format!("open the directory {}", root.display()))?;
        Ok(Tree::at(root, owners, xattrs))
    }

    /// The same in a directory that is open already.
    pub(crate) fn at(root: OwnedFd, owners: Owners, xattrs: OverlayXattrs) -> Tree {
        let dresser = Dresser { owners, xattrs };
        Tree { root, dresser, directories: BTreeMap::new(), names: 0, notes: Notes::default(), last: None }
    }

    /// The layer's own root: only its attributes come from the archive.
    pub(crate) fn root(&mut self, entry: &Entry) -> Result<()> {
        let root = open_in_root(self.root.as_fd(), "", OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.dress_directory(&root, PathBuf::new(), entry)
    }

    pub(crate) fn directory(&mut self, parent: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        let fd = self.make_directory(parent, name, entry.mtime)?;
        self.dress_directory(&fd, parent.join(name), entry)
    }

    /// Makes a regular file and has `fill` write its content.
    pub(crate) fn file(
        &mut self,
        parent: &Path,
        name: &OsStr,
        entry: &Entry,
        fill: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.make(parent, name, entry.mtime, |dir| openat(dir, name, flags, Mode::from_raw_mode(0o600)))?;
        fill(file.as_fd())?;
        let missing = self.dresser.file(&file, entry)?;
        self.note(parent, name, entry, missing)
    }

    pub(crate) fn symlink(&mut self, parent: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        self.make(parent, name, entry.mtime, |dir| symlinkat(&entry.link[..], dir, name))?;
        self.dress(parent, name, entry)
    }

    /// Makes a FIFO or a device.
    pub(crate) fn node(&mut self, parent: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        let (kind, device) = match entry.kind {
            EntryKind::CharDevice(major, minor) => (FileType::CharacterDevice, makedev(major, minor)),
            EntryKind::BlockDevice(major, minor) => (FileType::BlockDevice, makedev(major, minor)),
            _ => (FileType::Fifo, 0),
        };
        let made =
            self.make(parent, name, entry.mtime, |dir| mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device));
        match made {
            // Only the real root may make devices. A container gets its /dev from the engine, so nothing is lost.
            Err(error) if self.may_not(&error) => {
                self.note(parent, name, entry, Missing { owner: true, xattrs: entry.xattrs.clone() })
            }
            made => made.and_then(|()| self.dress(parent, name, entry)),
        }
    }

    /// Gives the file `target` of this layer, itself never followed, another name.
    pub(crate) fn hard_link(
        &mut self,
        parent: &Path,
        name: &OsStr,
        target: (&Path, &OsStr),
        mtime: Timestamp,
    ) -> Result<()> {
        let from = self.open_directory(target.0).with_context(|| format!("open {}", target.0.display()))?;
        // What is noted of the one is true of the other.
        if let Some(note) = self.notes.get(&self.place(&from, target.1)?).cloned() {
            let to = self.directory_for(parent, mtime)?;
            self.notes.add(self.place(&to, name)?, note)?;
        }
        let found =
            statat(&*from, target.1, AtFlags::SYMLINK_NOFOLLOW).context("the file it links to is not in this layer")?;
        if is_whiteout(&found) {
            bail!("the file it links to is not in this layer, but a whiteout");
        }
        let to = self.directory_for(parent, mtime)?;
        let link = || linkat(&*from, target.1, &*to, name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {}
            done => return done.context("link"),
        }
        let there = statat(&*to, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino) {
            return Ok(());
        }
        self.clear(parent, &to, name)?;
        link().context("link")
    }

    /// Says that `name` of the layers below is gone. Overlayfs's word for it is a character device 0:0; making one needs no
    /// privilege since Linux 5.8. Whiteouts speak of the layers below only: what this very layer has of that name stays.
    pub(crate) fn whiteout(&mut self, parent: &Path, name: &OsStr, mtime: Timestamp) -> Result<()> {
        let dir = self.directory_for(parent, mtime)?;
        match mknodat(&*dir, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0)) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error).context("make a whiteout (mknod 0:0)"),
        }
        let there = statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
            self.opaque(&parent.join(name), mtime)?;
        }
        Ok(())
    }

    /// Says that `directory` hides what the layers below have in it.
    pub(crate) fn opaque(&mut self, directory: &Path, mtime: Timestamp) -> Result<()> {
        self.directory_for(directory, mtime)?;
        let fd = open_in_root(self.root.as_fd(), directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.dresser.opaque(&fd)
    }

    /// Makes something by `make`, after removing what an earlier entry put in its place.
    fn make<T>(
        &mut self,
        parent: &Path,
        name: &OsStr,
        mtime: Timestamp,
        make: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T> {
        let dir = self.directory_for(parent, mtime)?;
        match make((*dir).as_fd()) {
            Err(Errno::EXIST) => {
                self.clear(parent, &dir, name)?;
                make((*dir).as_fd()).context("make it")
            }
            made => made.context("make it"),
        }
    }

    fn dress(&mut self, parent: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        let dir = self.open_directory(parent)?;
        let missing = self.dresser.other(&dir, name, entry)?;
        self.note(parent, name, entry, missing)
    }

    /// Notes what `name` in `parent` lacks; and if that is nothing, that an earlier note is no longer true.
    fn note(&mut self, parent: &Path, name: &OsStr, entry: &Entry, missing: Missing) -> Result<()> {
        if self.notes.is_empty() && !missing.anything() {
            return Ok(());
        }
        let dir = self.open_directory(parent)?;
        let place = self.place(&dir, name)?;
        if entry.kind != EntryKind::Directory {
            self.notes.forget(&place);
        }
        match missing.anything() {
            true => self.notes.add(place, Entry { xattrs: missing.xattrs, ..entry.clone() }),
            false => self.notes.take(&place, entry.kind).map_or(Ok(()), |_| Ok(())),
        }
    }

    /// Where `name` in `dir` really is, below the root: links on the way may have led there.
    fn place(&self, dir: &OwnedFd, name: &OsStr) -> Result<PathBuf> {
        let path = |fd: &OwnedFd| readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new());
        let (dir, root) = (path(dir)?.into_bytes(), path(&self.root)?.into_bytes());
        let below = dir.strip_prefix(&root[..]).context("a directory outside of its root")?;
        let below = Path::new(OsStr::from_bytes(below));
        Ok(below.strip_prefix("/").unwrap_or(below).join(name))
    }

    fn may_not(&self, error: &anyhow::Error) -> bool {
        self.dresser.owners == Owners::Skip && error.downcast_ref::<Errno>() == Some(&Errno::PERM)
    }
}

/// Whether this is overlayfs's mark for "gone".
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
