//! The directories of a layer: found again, made when they are missing, given mode and time at the end.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use rootfs::open_in_root;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, futimens, mkdirat, openat, statat, unlinkat,
};
use rustix::io::Errno;

use super::{Tree, is_whiteout};
use crate::dress::times;
use crate::entry::{Entry, Timestamp};
use crate::notes::Notes;
use crate::privilege::Owners;
use crate::remove::remove_at;

/// The names of all directories of a layer together may have so many bytes: they are kept until its end.
const MAX_NAMES: usize = 256 << 20;

impl Tree {
    /// Makes a directory or opens the one that is there. One that takes the place of a whiteout of the same layer is opaque:
    /// the name is gone below, and new here.
    pub(super) fn make_directory(&mut self, parent: &Path, name: &OsStr, mtime: Timestamp) -> Result<OwnedFd> {
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
            self.dresser.opaque(&fd)?;
        }
        Ok(fd)
    }

    /// The directory `path`, made if the archive did not name it: with mode 0755, root's, and the time of the entry that
    /// needs it.
    pub(super) fn directory_for(&mut self, path: &Path, mtime: Timestamp) -> Result<Rc<OwnedFd>> {
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
        if self.dresser.owners == Owners::Keep {
            fchown(&fd, Some(Uid::ROOT), Some(Gid::ROOT)).context("chown")?;
        }
        self.remember(path.to_owned(), Mode::from_raw_mode(0o755), mtime)?;
        self.open_directory(path).with_context(|| format!("open its directory {path:?}"))
    }

    pub(super) fn open_directory(&mut self, path: &Path) -> io::Result<Rc<OwnedFd>> {
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
    pub(super) fn clear(&mut self, parent: &Path, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        match unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            done => return done.context("replace an earlier entry"),
        }
        let path = parent.join(name);
        let gone: Vec<PathBuf> = self
            .directories
            .range(path.clone()..)
            .map(|(directory, _)| directory.clone())
            .take_while(|directory| directory.starts_with(&path))
            .collect();
        for directory in gone {
            self.names -= directory.as_os_str().len();
            self.directories.remove(&directory);
        }
        self.last = None;
        remove_at(dir.as_fd(), name).context("replace an earlier directory")
    }

    pub(super) fn dress_directory(&mut self, fd: &OwnedFd, path: PathBuf, entry: &Entry) -> Result<()> {
        let missing = self.dresser.directory(fd, entry)?;
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            self.note(parent, name, entry, missing)?;
        }
        self.remember(path, Mode::from_raw_mode(entry.mode), entry.mtime)
    }

    /// Keeps a directory's mode and time for the end.
    fn remember(&mut self, path: PathBuf, mode: Mode, mtime: Timestamp) -> Result<()> {
        let length = path.as_os_str().len();
        if self.directories.insert(path, (mode, mtime)).is_none() {
            self.names += length;
            // A bomb for memory: long names compress to nearly nothing, and nest.
            ensure!(self.names <= MAX_NAMES, "the names of its directories are longer than {MAX_NAMES} bytes together");
        }
        Ok(())
    }

    /// Sets modes and times of the directories, the deepest first: the mode of one may close the way to those in it.
    ///
    /// Gives what could not be kept.
    pub(crate) fn finish(self) -> Result<Notes> {
        for (path, (mode, mtime)) in self.directories.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let set = || -> io::Result<()> {
                let fd = open_in_root(self.root.as_fd(), path, flags)?;
                fchmod(&fd, *mode)?;
                Ok(futimens(&fd, &times(*mtime))?)
            };
            set().with_context(|| format!("set mode and time of the directory {path:?}"))?;
        }
        Ok(self.notes)
    }
}
