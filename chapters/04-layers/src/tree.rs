//! The directory that a layer is unpacked into, written to as an attacker's archive demands and never outside.
//!
//! Nothing here joins a name to a path. A directory is opened by `openat2(RESOLVE_IN_ROOT)`, which takes the layer's root
//! for `/` at each link and each `..` on the way, and what is in it is made by its name in that directory: with calls that
//! do not follow a last component (`mkdirat`, `symlinkat`, `linkat`, `mknodat`) or are told not to (`O_NOFOLLOW`).
//! The archive may so make a link to `/etc` and then a file below it: the file lands in the layer's own `/etc`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use rootfs::{open_in_root, open_root};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, fsetxattr, futimens, linkat, lsetxattr, makedev, mkdirat, mknodat, openat, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;

use crate::entry::{Entry, EntryKind, Timestamp};
use crate::privilege::{OverlayXattrs, Owners};
use crate::remove::remove_at;

/// A tree being written. Attributes of directories are kept until [`Tree::finish`]: writing into a directory changes its
/// time, and without root one may not write into a directory that is to be read-only.
pub(crate) struct Tree {
    root: OwnedFd,
    owners: Owners,
    xattrs: OverlayXattrs,
    directories: BTreeMap<PathBuf, (Mode, Timestamp)>,
    /// The directory opened last. Entries come sorted, so it is nearly always the one that the next needs.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
}

impl Tree {
    pub(crate) fn open(root: &Path, owners: Owners, xattrs: OverlayXattrs) -> Result<Tree> {
        let root = open_root(root).with_context(|| format!("open the directory {}", root.display()))?;
        Ok(Tree { root, owners, xattrs, directories: BTreeMap::new(), last: None })
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
        // In this order: chown(2) clears set-uid and capabilities, chmod(2) does not touch the latter, and all of them
        // change the time of the last change but not that of the last modification.
        if self.owners == Owners::Keep {
            fchown(&file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
                .map_err(|e| chown_error(e, entry))?;
        }
        fchmod(&file, Mode::from_raw_mode(entry.mode)).context("chmod")?;
        self.set_xattrs(entry, |name, value| fsetxattr(&file, name, value, XattrFlags::empty()))?;
        futimens(&file, &times(entry.mtime)).context("set its time")
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
            Err(error) if self.owners == Owners::Skip && is_errno(&error, Errno::PERM) => return Ok(()),
            made => made?,
        }
        self.dress(parent, name, entry)?;
        let dir = self.open_directory(parent)?;
        // chmod(2) follows links; but what has this name was made two lines above, and nobody else writes here.
        chmodat(&*dir, name, Mode::from_raw_mode(entry.mode), AtFlags::empty()).context("chmod")
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
        self.set_opaque(&fd)
    }

    /// Sets modes and times of the directories, the deepest first: the mode of one may close the way to those in it.
    pub(crate) fn finish(self) -> Result<()> {
        for (path, (mode, mtime)) in self.directories.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let set = || -> io::Result<()> {
                let fd = open_in_root(self.root.as_fd(), path, flags)?;
                fchmod(&fd, *mode)?;
                Ok(futimens(&fd, &times(*mtime))?)
            };
            set().with_context(|| format!("set mode and time of the directory {path:?}"))?;
        }
        Ok(())
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

    /// Makes a directory or opens the one that is there. One that takes the place of a whiteout of the same layer is opaque:
    /// the name is gone below, and new here.
    fn make_directory(&mut self, parent: &Path, name: &OsStr, mtime: Timestamp) -> Result<OwnedFd> {
        let dir = self.directory_for(parent, mtime)?;
        self.make_directory_in(parent, &dir, name)
    }

    fn make_directory_in(&mut self, parent: &Path, dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
        let make = || mkdirat(dir, name, Mode::from_raw_mode(0o700));
        let mut opaque = false;
        match make() {
            Err(Errno::EXIST) => {
                let there = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(there.st_mode) != FileType::Directory {
                    opaque = is_whiteout(&there);
                    self.clear(parent, dir, name)?;
                    make().context("mkdir")?;
                }
            }
            made => made.context("mkdir")?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(dir, name, flags, Mode::empty()).context("open the new directory")?;
        if opaque {
            self.set_opaque(&fd)?;
        }
        Ok(fd)
    }

    /// The directory `path`, made if the archive did not name it: with mode 0755, root's, and the time of the entry that
    /// needs it.
    fn directory_for(&mut self, path: &Path, mtime: Timestamp) -> Result<Rc<OwnedFd>> {
        match self.open_directory(path) {
            Ok(fd) => return Ok(fd),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error).with_context(|| format!("open its directory {path:?}")),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { bail!("the layer's root is gone") };
        // Depth is bounded by the check of names, and so is this recursion.
        let dir = self.directory_for(parent, mtime)?;
        // A file cannot hold entries, and a link that leads nowhere in this layer says nothing about where they belong;
        // only a whiteout gives way, and becomes an opaque directory.
        match statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if !is_whiteout(&there) => {
                let kind = FileType::from_raw_mode(there.st_mode);
                bail!("its directory {path:?} is something else in this layer ({kind:?})")
            }
            _ => {}
        }
        let fd = self.make_directory_in(parent, &dir, name).with_context(|| format!("make its directory {path:?}"))?;
        if self.owners == Owners::Keep {
            fchown(&fd, Some(Uid::ROOT), Some(Gid::ROOT)).context("chown")?;
        }
        self.directories.insert(path.to_owned(), (Mode::from_raw_mode(0o755), mtime));
        self.open_directory(path).with_context(|| format!("open its directory {path:?}"))
    }

    fn open_directory(&mut self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return Ok(fd.clone());
        }
        let fd = Rc::new(open_in_root(self.root.as_fd(), path, OFlags::PATH | OFlags::DIRECTORY)?);
        self.last = Some((path.to_owned(), fd.clone()));
        Ok(fd)
    }

    /// Removes what an earlier entry of this layer made.
    fn clear(&mut self, parent: &Path, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        match unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            done => return done.context("replace an earlier entry"),
        }
        let path = parent.join(name);
        self.directories.retain(|directory, _| !directory.starts_with(&path));
        self.last = None;
        remove_at(dir.as_fd(), name).context("replace an earlier directory")
    }

    fn dress_directory(&mut self, fd: &OwnedFd, path: PathBuf, entry: &Entry) -> Result<()> {
        if self.owners == Owners::Keep {
            fchown(fd, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
                .map_err(|e| chown_error(e, entry))?;
        }
        self.set_xattrs(entry, |name, value| fsetxattr(fd, name, value, XattrFlags::empty()))?;
        self.directories.insert(path, (Mode::from_raw_mode(entry.mode), entry.mtime));
        Ok(())
    }

    /// Owner, extended attributes and time of what cannot be opened without consequences: links, FIFOs, devices.
    fn dress(&mut self, parent: &Path, name: &OsStr, entry: &Entry) -> Result<()> {
        let dir = self.open_directory(parent)?;
        if self.owners == Owners::Keep {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            chownat(&*dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(|e| chown_error(e, entry))?;
        }
        if !entry.xattrs.is_empty() {
            // There is no setxattrat(2) before Linux 6.13. The first part of this path is our own open directory, the last
            // is not followed.
            let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
            self.set_xattrs(entry, |name, value| lsetxattr(&path, name, value, XattrFlags::empty()))?;
        }
        utimensat(&*dir, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW).context("set its time")
    }

    /// Sets the extended attributes that an image may set.
    ///
    /// Overlayfs keeps its own notes in `trusted.overlay.*` and `user.overlay.*`: an archive that could write them would
    /// mount other parts of the layers below under names of its choice (`redirect`, `metacopy`). They are left out, as are
    /// those that the file system, or a caller without root, cannot keep: Docker does the same.
    fn set_xattrs(&self, entry: &Entry, set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>) -> Result<()> {
        for (name, value) in &entry.xattrs {
            if OverlayXattrs::reserved(name) {
                continue;
            }
            match set(name, value) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                // xattr(7): user.* belongs on files and directories only.
                Err(Errno::PERM) if self.owners == Owners::Skip || name.starts_with(b"user.") => {}
                Err(Errno::PERM) if self.xattrs == OverlayXattrs::User && name.starts_with(b"trusted.") => {}
                Err(error) => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    return Err(error).with_context(|| format!("set the extended attribute {name:?}"));
                }
            }
        }
        Ok(())
    }

    fn set_opaque(&self, fd: &OwnedFd) -> Result<()> {
        let name = self.xattrs.opaque();
        fsetxattr(fd, name, b"y", XattrFlags::empty())
            .with_context(|| format!("mark it as opaque ({})", name.display()))
    }
}

/// Whether this is overlayfs's mark for "gone".
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The access time is set to the same: the archive has none, and "now" would make two unpackings differ.
fn times(mtime: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn chown_error(error: Errno, entry: &Entry) -> anyhow::Error {
    let Entry { uid, gid, .. } = entry;
    let error = anyhow::Error::new(error);
    match error.downcast_ref() {
        Some(&Errno::INVAL) => error.context(format!(
            "chown to {uid}:{gid}: this user namespace has no such ids (map more of them, see /etc/subuid)"
        )),
        _ => error.context(format!("chown to {uid}:{gid}")),
    }
}

fn is_errno(error: &anyhow::Error, errno: Errno) -> bool {
    error.downcast_ref::<Errno>() == Some(&errno)
}
