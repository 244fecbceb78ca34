//! Carrying out one [`Mount`]: find its place inside the root, make the mount, attach the one to the other by descriptors.
//!
//! Between looking for the place and mounting on it nothing is looked up again: the place *is* the descriptor. With paths,
//! a neighbour who shares a volume can exchange a directory for a link in between (CVE-2021-30465).

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use crate::filesystem::{Refused, host_instance, new_filesystem, new_filesystem_called};
use crate::in_root::{self, Leaf, Links, open_in_root};
use crate::mount::{Mount, MountSource};
use crate::plan::may_cover_proc;
use crate::{cgroupfs, dev};

/// Mounts `mount` inside `root`. `clone` is the clone of its source, if it is a bind.
///
/// Called in the child, in its own mount namespace, before the pivot, with a umask of 0.
pub(crate) fn attach(root: BorrowedFd<'_>, mount: &Mount, clone: Option<OwnedFd>) -> Result<()> {
    let attributes = mount.attributes;
    let detached = match &mount.source {
        MountSource::Bind { .. } => clone.context("its source was not cloned")?,
        MountSource::Tmpfs => {
            // Docker's name for it, by which people look for it in `df`.
            let name = if mount.destination == Path::new("/dev/shm") { "shm" } else { "tmpfs" };
            new_filesystem_called("tmpfs", name, &tmpfs_options(root, mount), attributes)?
        }
        MountSource::Dev => new_filesystem("tmpfs", &mount.data, attributes)?,
        MountSource::Proc => proc(mount)?,
        MountSource::Sysfs => new_or_host(mount, "sysfs", "/sys")?,
        MountSource::Devpts => devpts(mount)?,
        MountSource::Mqueue => match new_or_host(mount, "mqueue", "/dev/mqueue") {
            // It is the host's namespace, and the host shows it nowhere.
            Err(error) if error.downcast_ref::<Errno>() == Some(&Errno::NOENT) => return Ok(()),
            mqueue => mqueue?,
        },
        MountSource::Cgroup => return cgroupfs::attach(place(root, mount, Leaf::Directory)?.as_fd(), attributes),
    };
    let leaf = match FileType::from_raw_mode(fs::fstat(&detached)?.st_mode) {
        FileType::Directory => Leaf::Directory,
        _ => Leaf::File,
    };
    put(detached.as_fd(), place(root, mount, leaf)?.as_fd())?;
    if mount.source == MountSource::Dev { dev::populate(detached.as_fd()) } else { Ok(()) }
}

/// Attaches the detached mount `mount` to `place`.
pub(crate) fn put(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<()> {
    let both_are_fds = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", both_are_fds).context("move_mount")
}

/// The place for `mount` inside `root`, made if it is missing.
fn place(root: BorrowedFd<'_>, mount: &Mount, leaf: Leaf) -> Result<OwnedFd> {
    let destination = mount.destination.as_path();
    // What the kernel makes must be where it says. A root with a link at /proc would have the masks put elsewhere, and
    // what is written to /proc/self/attr land in a file of its own (CVE-2019-19921, CVE-2023-27561, CVE-2026-41579).
    let links = if mount.is_system() { Links::Refuse } else { Links::Follow };
    let mode = match leaf {
        // What tmpfs_options() will find when the container is started again: the kernel's own default.
        Leaf::Directory if mount.source == MountSource::Tmpfs => Mode::from_raw_mode(0o1777),
        Leaf::Directory => Mode::from_raw_mode(0o755),
        Leaf::File => Mode::from_raw_mode(0o644),
    };
    let place =
        in_root::make(root, destination, links, leaf, mode).map_err(|error| explain(error, destination, leaf))?;
    // A link in the image may have led us below /proc, where a mount can lie about processes (CVE-2019-16884).
    if !mount.is_system() && fs::fstatfs(&place)?.f_type == PROC_SUPER_MAGIC && !may_cover_proc(destination) {
        bail!("{} leads into /proc, where nothing may be mounted", destination.display());
    }
    Ok(place)
}

/// Says what an errno means when it comes from making a mountpoint.
fn explain(error: io::Error, destination: &Path, leaf: Leaf) -> anyhow::Error {
    let hint = match (error.raw_os_error().map(Errno::from_raw_os_error), leaf) {
        (Some(Errno::LOOP), _) => "a symbolic link in the root is in the way",
        (Some(Errno::NOTDIR), Leaf::Directory) => "the source is a directory, the destination or its parent is not",
        (Some(Errno::ISDIR), Leaf::File) => "the source is a file, the destination is a directory",
        (Some(Errno::ROFS), _) => "it is missing, and the root is read-only: make it before",
        (Some(Errno::ACCESS | Errno::PERM | Errno::OVERFLOW), _) => {
            "it is missing, and the root is not ours to write to"
        }
        _ => "no place to mount on",
    };
    anyhow::Error::new(error).context(format!("{}: {hint}", destination.display()))
}

/// The options of a tmpfs, with the mode of the directory that it will cover unless they name one: it looks like what it
/// replaces. Where there is none, the kernel's default (1777) is right.
fn tmpfs_options(root: BorrowedFd<'_>, mount: &Mount) -> Vec<String> {
    let mut options = mount.data.clone();
    let covered = || open_in_root(root, &mount.destination, OFlags::PATH | OFlags::DIRECTORY).ok();
    if mount.option("mode").is_none()
        && let Some(stat) = covered().and_then(|directory| fs::fstat(directory).ok())
    {
        options.push(format!("mode={:o}", stat.st_mode & 0o7777));
    }
    options
}

/// Terminals belong to group 5, `tty`, so that `write(1)` and `wall(1)` work. A user namespace in which there is no group 5
/// refuses that with EINVAL, and does without.
fn devpts(mount: &Mount) -> Result<OwnedFd> {
    match new_filesystem("devpts", &mount.data, mount.attributes) {
        Err(Refused { errno: Errno::INVAL, .. }) => {
            let others: Vec<_> = mount.data.iter().filter(|option| !option.starts_with("gid=")).collect();
            Ok(new_filesystem("devpts", &others, mount.attributes)?)
        }
        result => Ok(result?),
    }
}

/// A procfs of our PID namespace. Where the namespace is shared and only a user namespace is ours, we may not make one, but
/// the host's shows the right processes: those of our namespace, as its `/proc/self` proves.
fn proc(mount: &Mount) -> Result<OwnedFd> {
    let refused = match new_filesystem("proc", &mount.data, mount.attributes) {
        Err(refused) if refused.errno == Errno::PERM => refused,
        result => return Ok(result?),
    };
    let us = rustix::process::getpid().as_raw_nonzero().to_string();
    if fs::readlinkat(CWD, "/proc/self", Vec::new()).is_ok_and(|target| target.to_bytes() == us.as_bytes()) {
        return Ok(host_instance(Path::new("/proc"), mount.attributes)?);
    }
    // mount_too_revealing() in fs/namespace.c: a user namespace gets no fresh procfs where its own has parts hidden.
    Err(refused)
        .context("the /proc that we see is itself masked; in a container, run that one with systempaths=unconfined")
}

/// A new instance of `kind`, or, where a user namespace may not make one, the host's at `path`.
fn new_or_host(mount: &Mount, kind: &str, path: &str) -> Result<OwnedFd> {
    match new_filesystem(kind, &mount.data, mount.attributes) {
        Err(Refused { errno: Errno::PERM, .. }) => {
            host_instance(Path::new(path), mount.attributes).with_context(|| format!("clone the host's {path}"))
        }
        result => Ok(result?),
    }
}
