//! `/dev`: a handful of device nodes and links, on a tmpfs of the container's own.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, Mode};
use rustix::mount::MountAttrFlags;

use crate::attach::put;
use crate::device::Device;
use crate::filesystem::clone_tree;
use crate::in_root::{Leaf, Links, make, open_root};
use crate::propagation::Propagation;
use crate::sys::Reach;

/// The nodes of every container: name, major, minor (the kernel's devices.txt; the runtime-spec's "Default Devices").
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links of every container: name, target.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Fills the empty `/dev` of a container. `dev` is its tmpfs, attached already: a node cannot be bound into a tree that is not.
pub(crate) fn populate(dev: BorrowedFd<'_>) -> Result<()> {
    for (name, major, minor) in NODES {
        Device::usual(name, major, minor).make_in(dev)?;
    }
    // Without CONFIG_PROC_KCORE there is nothing for that one to lead to. (`/proc` is the host's still.)
    let leads_nowhere = |target: &str| target == "/proc/kcore" && !Path::new(target).exists();
    for (name, target) in LINKS.into_iter().filter(|(_, target)| !leads_nowhere(target)) {
        fs::symlinkat(target, dev, name).with_context(|| format!("make the link /dev/{name}"))?;
    }
    Ok(())
}

/// Makes `terminal` the container's `/dev/console` as well, where its init and syslog daemons look for one.
///
/// Called in the child, after the pivot, for a container with a terminal. Where the user has mounted a `/dev` of their own,
/// that one decides: it may be shared with the host, on which no console of ours is to appear.
pub fn bind_console(terminal: BorrowedFd<'_>) -> Result<()> {
    let root = open_root(Path::new("/")).context("open the root")?;
    let dev = make(root.as_fd(), Path::new("/dev"), Links::Refuse, Leaf::Directory, Mode::empty())?;
    if !is_ours(dev.as_fd())? {
        return Ok(());
    }
    let place = make(dev.as_fd(), Path::new("console"), Links::Refuse, Leaf::File, Mode::from_raw_mode(0o600))?;
    let console = clone_tree(terminal, "", Reach::Mount, MountAttrFlags::empty(), Propagation::Private);
    put(console.context("clone the terminal")?.as_fd(), place.as_fd()).context("attach it to /dev/console")
}

/// Whether this is a `/dev` that [`populate`] has filled: a link of ours is in it.
fn is_ours(dev: BorrowedFd<'_>) -> Result<bool> {
    const TMPFS_MAGIC: u32 = 0x0102_1994;
    let ptmx = fs::readlinkat(dev, "ptmx", Vec::new());
    Ok(fs::fstatfs(dev)?.f_type as u32 == TMPFS_MAGIC && ptmx.is_ok_and(|target| target.to_bytes() == b"pts/ptmx"))
}

/// The host's `/dev/null` (O_PATH), verified: what hides files. Never one from inside the container, which could be
/// anything (CVE-2025-31133).
pub(crate) fn host_null() -> Result<OwnedFd> {
    Device::usual("null", 1, 3).open_host()
}
