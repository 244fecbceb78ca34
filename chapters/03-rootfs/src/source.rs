//! The host's side of a bind: a clone of the tree, made with the caller's rights and attached nowhere yet.
//!
//! Who clones matters. A path below a directory of mode 0700 is closed to the root of a user namespace, so we clone outside,
//! before the child exists, and it inherits the descriptor. An ordinary user owns no mount namespace until the child has one:
//! then the child clones, with the same user's rights.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use namespaces::{Child, Kind, rootless};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::filesystem::clone_tree;
use crate::in_root::{open_in_root, open_root};
use crate::mount::{Mount, MountSource};
use crate::propagation::Propagation;
use crate::sys::{Reach, idmap, mount_setattr};

/// Fails if `mount` is a bind of something that is not there, or not ours to reach, or has no mounts to spread. Touches
/// nothing: for whoever wants to know before anything is made.
pub fn check_source(mount: &Mount) -> Result<()> {
    let MountSource::Bind { path, create, .. } = &mount.source else { return Ok(()) };
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && *create => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("bind source path does not exist: {} (create it, or mend the path)", path.display())
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied && rootless() => {
            bail!("{} is closed to you, and so to your containers (Permission denied)", path.display())
        }
        Err(error) => Err(error).with_context(|| format!("look at {}", path.display())),
        Ok(_) => mount.propagation.check(path),
    }
}

/// Clones the source of a bind from outside, if `mount` is one, after making it if that is asked for. `None` also where the
/// child must do it ([`clone_inside`]).
pub(crate) fn clone_outside(mount: &Mount) -> Result<Option<OwnedFd>> {
    let MountSource::Bind { path, create, .. } = &mount.source else { return Ok(None) };
    check_source(mount)?;
    if *create {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
        // What is there may also be a file.
        if let Err(error) = made.or_else(|error| if path.exists() { Ok(()) } else { Err(error) }) {
            return Err(error).with_context(|| format!("make the missing {}", path.display()));
        }
    }
    permitted(clone_source(mount))
}

/// Clones it in the child, whose mounts are slaves of the host's.
pub(crate) fn clone_inside(mount: &Mount) -> Result<OwnedFd> {
    ensure!(
        mount.propagation != Propagation::Shared,
        "only root's containers can share mounts with the host (rslave gets the host's, and gives none)"
    );
    clone_source(mount)
}

/// Clones the directory that becomes a root.
pub(crate) fn clone_root(path: &Path) -> Result<OwnedFd> {
    clone_tree(CWD, path, Reach::Tree, MountAttrFlags::empty(), Propagation::Private)
        .with_context(|| format!("clone the root {}", path.display()))
}

/// A clone made outside; none, where that is not ours to do.
pub(crate) fn permitted(clone: Result<OwnedFd>) -> Result<Option<OwnedFd>> {
    match clone {
        Err(error) if error.downcast_ref::<Errno>() == Some(&Errno::PERM) => Ok(None),
        clone => clone.map(Some),
    }
}

/// Has the clone of `mount` show its owners as the container's user namespace maps them. Called outside, with the child held
/// at the gate and its maps written; the child holds the same clone.
pub(crate) fn map_owners(mount: &Mount, clone: Option<BorrowedFd<'_>>, child: &Child) -> Result<()> {
    let MountSource::Bind { recursive, .. } = &mount.source else { bail!("only a bind can have its ids mapped") };
    let Some(clone) = clone.filter(|_| !rootless()) else {
        bail!("idmap: the ids of a file system are for root to map (leave idmap out)");
    };
    let theirs = child.namespace(Kind::User)?;
    let ours = rustix::fs::stat("/proc/self/ns/user").context("look at our user namespace")?;
    ensure!(
        rustix::fs::fstat(&theirs)?.st_ino != ours.st_ino,
        "idmap: the container has no user namespace of its own, so there are no maps to show owners by"
    );
    idmap(clone, if *recursive { Reach::Tree } else { Reach::Mount }, theirs.as_fd()).map_err(|errno| match errno {
        Errno::INVAL => anyhow!("idmap: a file system there cannot map ids ({errno})"),
        errno => anyhow::Error::new(errno).context("idmap (mount_setattr)"),
    })
}

/// Clones the source of a bind, as it will be attached but for the maps.
fn clone_source(mount: &Mount) -> Result<OwnedFd> {
    let MountSource::Bind { path, below, recursive, .. } = &mount.source else {
        bail!("{mount} has no source to clone");
    };
    let reach = if *recursive { Reach::Tree } else { Reach::Mount };
    let clone =
        |dir: BorrowedFd<'_>, path: &Path| clone_tree(dir, path, reach, MountAttrFlags::empty(), mount.propagation);
    let tree = if below.as_os_str().is_empty() {
        clone(CWD, path)
    } else {
        // What is in a volume is its containers' to change, links included.
        let volume = open_root(path).with_context(|| format!("open {}", path.display()))?;
        let part = open_in_root(volume.as_fd(), below, OFlags::PATH);
        let part = part.with_context(|| format!("look for {} in {}", below.display(), path.display()))?;
        clone(part.as_fd(), Path::new(""))
    };
    let tree = tree.map_err(|errno| match errno {
        Errno::NOENT => anyhow!("the host path {} does not exist", path.display()),
        Errno::INVAL if !recursive => anyhow!("{} covers mounts that may not be left out here", path.display()),
        // The errno stays reachable: EPERM means "try again inside".
        errno => anyhow::Error::new(errno).context(format!("open_tree {}", path.display())),
    })?;
    // Before it is attached, so that nobody ever sees the volume writable.
    mount_setattr(tree.as_fd(), c"", mount.reach, mount.attributes, None)
        .context("set its attributes (mount_setattr)")?;
    Ok(tree)
}
