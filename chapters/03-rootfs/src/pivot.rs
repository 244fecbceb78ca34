//! Propagation cut off, and `pivot_root`: how a process trades the root that it was born with for another one.

use anyhow::{Context, Result};
use rustix::fd::BorrowedFd;
use rustix::fs::{CWD, statfs};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, unmount};
use rustix::process::{chdir, chroot, fchdir, pivot_root};

use crate::sys::{Reach, mount_setattr};

/// Cuts this mount namespace off from the one that it was copied from: no mount made here is seen there.
///
/// Called in the child, in its own mount namespace, before it mounts anything; twice does no harm. A new mount namespace is a
/// copy, but its mounts stay in the *peer groups* of the originals, and systemd makes every mount of the host shared: without
/// this call, all that a container mounts turns up on the host (`mount_namespaces(7)`).
///
/// Slave and not private: what the host mounts still arrives, which a bind that is cloned after this and asks for it
/// (`rslave`) needs. All else of the host's tree is left behind at the pivot.
pub fn make_slave() -> Result<()> {
    mount_setattr(CWD, c"/", Reach::Tree, MountAttrFlags::empty(), Some(MountPropagationFlags::DOWNSTREAM))
        .context("make the mounts slaves of the host's (mount_setattr)")
}

/// Makes `new_root` the root of this mount namespace and lets go of the old one.
///
/// Called in the child, in its own mount namespace, with propagation already cut off: `pivot_root(2)` refuses a shared
/// parent mount with EINVAL. The old root is stacked under the new one and detached, so no directory for it is needed.
///
/// Why not `chroot`: it changes only where `/` starts for this process. The host's tree stays mounted, and whoever is root
/// walks out of it with a second `chroot` and some `..`; after a pivot there is no tree left to walk to.
pub fn pivot_into(new_root: BorrowedFd<'_>) -> Result<()> {
    fchdir(new_root).context("enter the new root")?;
    match pivot_root(".", ".") {
        Err(Errno::INVAL) if is_initramfs()? => return cover_initramfs(),
        result => result.context("pivot_root")?,
    }
    // Both roots are mounted at "/" now; the old one is on top, and "." still names it.
    unmount(".", UnmountFlags::DETACH).context("detach the old root")?;
    chdir("/").context("stand in the new root")
}

/// Whether the machine still runs from the initramfs that it was booted with, as small virtual machines do.
fn is_initramfs() -> Result<bool> {
    const RAMFS_MAGIC: u32 = 0x8584_58f6;
    const TMPFS_MAGIC: u32 = 0x0102_1994;
    Ok([RAMFS_MAGIC, TMPFS_MAGIC].contains(&(statfs("/").context("statfs /")?.f_type as u32)))
}

/// Moves into a new root that is attached over an initramfs, and stands in it already.
///
/// The initramfs is the first mount of all and hangs in no other, so it cannot be pivoted away (the kernel's
/// ramfs-rootfs-initramfs.rst, which tells us to do this instead). Here, and only here, `chroot` is no weaker than it
/// should be: the new root covers `/` itself, so that every `..` ends in it.
fn cover_initramfs() -> Result<()> {
    chroot(".").context("chroot into the new root")?;
    chdir("/").context("stand in the new root")
}
