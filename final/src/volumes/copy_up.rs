//! What the image has where an empty volume goes is copied into it first, so that a database's volume begins with what the
//! image's author put there.
//!
//! Nobody ever takes a half-filled volume for a full one. The copy is made aside, in `filling/part` beside the volume's
//! data, and becomes `filling/whole` in one step; then what is in it is moved over, one rename each. Killed before that
//! step, the next start throws the part away and begins again; killed after it, the next start moves the rest. What another
//! container has written meanwhile stays: nothing is replaced.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use namespaces::{Child, Gate, Isolation, Kind, Process};
use rootfs::Reach;
use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags, flock, mkdirat, openat, renameat, renameat_with,
    statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::saved::SavedMount;
use super::store::VolumeStore;
use crate::monitor::stop_at;

/// Fills a container's empty volumes. It stands in the list between the layers, which it copies from, and the root, which
/// mounts the volumes over them.
///
/// The child copies: the image is mounted for it alone, and in its user namespace the owners are right.
pub struct CopyUp {
    image: PathBuf,
    mapped: bool,
    wishes: Vec<(PathBuf, PathBuf)>,
    fills: Vec<Fill>,
}

/// One empty volume.
struct Fill {
    /// Where the image has what goes into it.
    destination: PathBuf,
    /// The volume's directory, locked: one fills, the others wait.
    lock: OwnedFd,
    /// The same as the child is to see it, if that is different: what is root's is its user namespace's root's.
    mapped: Option<OwnedFd>,
}

impl CopyUp {
    /// For these mounts, where the image is mounted at `image`; `mapped`: in a container whose volumes show their owners as
    /// its user namespace maps them. `None` if there is no volume among the mounts that could need it.
    pub fn new(store: &VolumeStore, mounts: &[SavedMount], image: PathBuf, mapped: bool) -> Option<CopyUp> {
        let wishes: Vec<(PathBuf, PathBuf)> = mounts
            .iter()
            .filter(|mount| mount.copy)
            .filter_map(|mount| Some((store.directory_of(mount.volume.as_ref()?), mount.destination.clone())))
            .collect();
        (!wishes.is_empty()).then_some(CopyUp { image, mapped, wishes, fills: Vec::new() })
    }
}

impl Isolation for CopyUp {
    fn prepare(&mut self) -> Result<()> {
        for (volume, destination) in &self.wishes {
            let fill = open(volume, destination, self.mapped);
            self.fills.extend(fill.with_context(|| format!("open the volume {}", volume.display()))?);
        }
        Ok(())
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        let mapped: Vec<&OwnedFd> = self.fills.iter().filter_map(|fill| fill.mapped.as_ref()).collect();
        if mapped.is_empty() {
            return Ok(());
        }
        let user_namespace = child.namespace(Kind::User)?;
        mapped.into_iter().try_for_each(|volume| {
            rootfs::idmap(volume.as_fd(), Reach::Mount, user_namespace.as_fd())
                .context("show a volume's owners as the user namespace maps them (can its file system do that?)")
        })
    }

    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        if self.fills.is_empty() {
            return Ok(());
        }
        let image = rootfs::open_root(&self.image).context("open the image's root")?;
        for fill in self.fills.drain(..) {
            fill.carry_out(image.as_fd())
                .with_context(|| format!("fill the volume for {}", fill.destination.display()))?;
        }
        Ok(())
    }

    fn adopt(&mut self, _: &Gate) -> Result<()> {
        for fill in self.fills.drain(..) {
            let _ = unlinkat(&fill.lock, "filling", AtFlags::REMOVEDIR);
            // Said, since the child has the descriptor as well until it executes something.
            flock(&fill.lock, FlockOperation::Unlock).context("unlock the volume")?;
        }
        Ok(())
    }
}

/// Opens a volume for being filled; `None` if there is something in it and nobody in the middle of putting it there.
fn open(volume: &Path, destination: &Path, mapped: bool) -> Result<Option<Fill>> {
    let lock = open_directory(CWD, volume)?;
    let data = open_directory(lock.as_fd(), "_data")?;
    let is_full = || Ok::<_, anyhow::Error>(!exists(lock.as_fd(), "filling")? && !is_empty(data.as_fd())?);
    if is_full()? {
        return Ok(None);
    }
    // However long somebody else takes to fill it: until then it is not what the container is promised.
    retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive)).context("lock it")?;
    if is_full()? {
        return Ok(None);
    }
    match mkdirat(&lock, "filling", Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error).context("make a directory to fill it by"),
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mapped = mapped.then(|| open_tree(&lock, "", flags)).transpose().context("clone its mount")?;
    Ok(Some(Fill { destination: destination.to_owned(), lock, mapped }))
}

impl Fill {
    fn carry_out(&self, image: BorrowedFd<'_>) -> Result<()> {
        stop_at("fill-begin");
        let volume = self.mapped.as_ref().unwrap_or(&self.lock).as_fd();
        let data = open_directory(volume, "_data")?;
        let filling = open_directory(volume, "filling")?;
        let filling = filling.as_fd();
        if !exists(filling, "whole")? {
            layers::remove_tree_at(filling, "part").context("throw away half a copy")?;
            if !is_empty(data.as_fd())? {
                return Ok(()); // somebody else has begun to use it meanwhile, or has filled it
            }
            // What is there but no directory will be said when it is mounted on.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let Ok(source) = rootfs::open_in_root(image, &self.destination, flags) else { return Ok(()) };
            mkdirat(filling, "part", Mode::from_raw_mode(0o700)).context("make a directory to copy to")?;
            layers::copy_tree(source.as_fd(), open_directory(filling, "part")?)?;
            stop_at("fill-part");
            renameat(filling, "part", filling, "whole").context("finish the copy")?;
        }
        stop_at("fill-whole");
        move_over(filling, data)
    }
}

/// Moves what was copied into the volume, which looks like the image's directory then. What is there already is another
/// container's, and stays.
fn move_over(filling: BorrowedFd<'_>, data: OwnedFd) -> Result<()> {
    let whole = open_directory(filling, "whole")?;
    let attributes = layers::Attributes::of(whole.as_fd())?; // now: what is moved out changes the time
    // All of them before one is moved: what a directory tells that is changed meanwhile is anybody's guess (readdir(3)).
    for name in names(whole.as_fd())?.collect::<Result<Vec<CString>>>()? {
        match renameat_with(&whole, &*name, &data, &*name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("move {name:?} into the volume")),
        }
        stop_at("fill-moving");
    }
    attributes.give_to(data).context("dress the volume")?;
    layers::remove_tree_at(filling, "whole").context("remove what was copied")
}

fn open_directory(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).context("open a directory of it")
}

fn exists(directory: BorrowedFd<'_>, name: &str) -> Result<bool> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("look for {name}")),
    }
}

fn is_empty(directory: BorrowedFd<'_>) -> Result<bool> {
    Ok(names(directory)?.next().transpose()?.is_none())
}

fn names(directory: BorrowedFd<'_>) -> Result<impl Iterator<Item = Result<CString>>> {
    let entries = Dir::read_from(directory).context("read a directory")?;
    let names = entries.map(|entry| Ok(entry.context("read a directory")?.file_name().to_owned()));
    Ok(names.filter(|name| !name.as_ref().is_ok_and(|name| matches!(name.to_bytes(), b"." | b".."))))
}
