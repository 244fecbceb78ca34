//! Root's layers in a container with a user namespace of its own.
//!
//! The files of a layer belong on disk to the ids that its archive names, so that all containers share them. In a user
//! namespace that has its root at 100000 outside, a file of 0 belongs to nobody. So the layers are shown through *idmapped
//! mounts* (Linux 5.19 for overlayfs), each file under the id that the namespace maps its owner to. That takes the rights of
//! the outside and the maps of the inside: the overlay is made out here while the child waits at the gate, and given to it.
//!
//! The upper directory is not idmapped, which would make the overlay read-only without a word: what the container writes
//! belongs to 100000 and up on disk, and [`crate::ids`] remembers what that means.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use namespaces::{Birth, Child, Container, Gate, Isolation, Kind, Process};
use rootfs::{Reach, idmap, make_slave};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, fstat, openat, statat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

use crate::ids::Ids;
use crate::overlay::{Upper, attach, clone_directory, mount_overlay};
use crate::privilege::OverlayXattrs;
use crate::walk::walk;

/// What the overlay is called at the gate.
pub(crate) const OVERLAY: &str = "overlay";

/// Prepares the upper directory for a child in another user namespace, and makes its overlay if it cannot do that itself:
/// an ordinary user's child can, since all files are the user's own.
pub(crate) fn outside(child: &Child, lower: &[PathBuf], upper: &Upper) -> Result<Option<OwnedFd>> {
    let user_namespace = child.namespace(Kind::User)?;
    let ours = statat(CWD, "/proc/self/ns/user", AtFlags::empty()).context("look at our own user namespace")?;
    if fstat(&user_namespace)?.st_ino == ours.st_ino {
        return Ok(None);
    }
    let ids = Ids::of(child)?;
    let root = OverlayXattrs::permitted() == OverlayXattrs::Trusted;
    claim(upper, &ids, root)?;
    if !root {
        return Ok(None);
    }
    let made = Rc::default();
    let maker = Maker { user_namespace, lower: lower.to_vec(), upper: upper.clone(), made: Rc::clone(&made) };
    // A container that comes as far as its mounts. Dropped then, it ends without ever having executed anything.
    let maker = Container::new(Process::new(Vec::new()), vec![Box::new(maker)], crate::undo);
    drop(maker.create().context("make the overlay outside of the user namespace")?);
    made.take().context("the overlay did not come through the gate").map(Some)
}

/// Makes an overlay of idmapped layers in a mount namespace of its own, in which they can be attached: overlayfs takes no
/// layer that is attached nowhere (before Linux 6.15).
struct Maker {
    user_namespace: OwnedFd,
    lower: Vec<PathBuf>,
    upper: Upper,
    made: Rc<RefCell<Option<OwnedFd>>>,
}

impl Isolation for Maker {
    fn births(&self) -> Vec<Birth> {
        vec![Birth::New(Kind::Mount)]
    }

    fn inside(&mut self, gate: &Gate, _process: &mut Process) -> Result<()> {
        make_slave()?;
        // Each layer is covered by its idmapped clone, so that its path leads there. Twice in the list is once covered.
        for layer in self.lower.iter().collect::<BTreeSet<_>>() {
            let clone = clone_directory(layer)?;
            idmap(clone.as_fd(), Reach::Mount, self.user_namespace.as_fd())
                .map_err(|errno| cannot_map(layer, errno))?;
            attach(clone.as_fd(), layer).with_context(|| format!("attach the layer {}", layer.display()))?;
        }
        let overlay = mount_overlay(&self.lower, Some(&self.upper), OverlayXattrs::Trusted)?;
        gate.send_fd(OVERLAY, overlay.as_fd())
    }

    fn adopt(&mut self, gate: &Gate) -> Result<()> {
        *self.made.borrow_mut() = gate.take_fd(OVERLAY);
        Ok(())
    }
}

/// Makes the upper directory and all that is in it the container's. The first time only: later its owners are as the
/// container wants them.
fn claim(upper: &Upper, ids: &Ids, chown: bool) -> Result<()> {
    let directory = &upper.upper;
    if let Some(known) = Ids::beside(directory)? {
        ensure!(
            known == *ids,
            "{} was written with other maps of ids (use the same user namespace, or a new directory)",
            directory.display()
        );
        return Ok(());
    }
    if chown {
        // What a copy or an earlier run without a user namespace put there.
        walk(directory, &mut |found| give(found.dir, found.name, &found.stat, ids))?;
        for path in [directory, &upper.work] {
            let found = statat(CWD, path, AtFlags::empty()).with_context(|| format!("look at {}", path.display()))?;
            give(CWD, path.as_os_str(), &found, ids).with_context(|| format!("{}", path.display()))?;
        }
    }
    ids.write_beside(directory)
}

/// Gives a file of root's to the container's root, and so on.
fn give(dir: BorrowedFd<'_>, name: &OsStr, found: &Stat, ids: &Ids) -> Result<()> {
    let Some((uid, gid)) = ids.outside(found.st_uid, found.st_gid) else { return Ok(()) };
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context("give it to the container's root (chown)")?;
    if found.st_mode & 0o6000 != 0 && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
        // chown(2) has cleared them.
        chmodat(dir, name, Mode::from_raw_mode(found.st_mode), AtFlags::empty()).context("chmod")?;
    }
    Ok(())
}

fn cannot_map(layer: &Path, errno: Errno) -> anyhow::Error {
    let error = anyhow::Error::new(errno);
    let layer = layer.display();
    match errno {
        Errno::INVAL => error.context(format!(
            "the file system of {layer} cannot show its files under other owners, as a user namespace needs \
             (ext4, xfs and btrfs can, tmpfs since Linux 6.3, an overlay cannot)"
        )),
        _ => error.context(format!("map the owners of {layer}")),
    }
}

/// Makes `mountpoint` a directory that we, the root of a user namespace, can reach.
///
/// The way there may lead through a directory that is closed to us, as the engine's ROOT is to all but the host's root. In
/// our own mount namespace nobody else looks for anything in it: it is covered by an empty filesystem, and the rest of the
/// way made in that.
pub(crate) fn make_reachable(mountpoint: &Path) -> Result<()> {
    let closed = |path: &&Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, *path, flags, Mode::empty()).is_err_and(|errno| errno == Errno::ACCESS)
    };
    // The last one from below that is closed: the directory that it is in denies us the search.
    let Some(hidden) = mountpoint.ancestors().take_while(closed).last() else { return Ok(()) };
    let closed = hidden.parent().unwrap_or(hidden);
    let cover = || -> Result<()> {
        let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, "mode", "0755")?;
        fsconfig_create(&fs)?;
        let empty = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        attach(empty.as_fd(), closed)?;
        Ok(fs::create_dir_all(mountpoint)?)
    };
    cover().with_context(|| format!("make a way to {} (cover {})", mountpoint.display(), closed.display()))
}
