//! The isolation itself: a new root, from the clones made outside to the pivot inside.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use namespaces::{Birth, Child, Gate, Isolation, Kind, Process};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode};
use rustix::mount::{MountAttrFlags, MoveMountFlags, move_mount};
use rustix::process::umask;

use crate::attach::attach;
use crate::device::Device;
use crate::in_root::mkdir_all_in_root;
use crate::mask::{self, default_masked_paths, default_readonly_paths};
use crate::mount::{Mount, MountSource, default_mounts};
use crate::pivot::{make_slave, pivot_into};
use crate::source::{clone_inside, clone_outside, clone_root, map_owners, permitted};
use crate::sys::{Reach, mount_setattr};

/// A root filesystem of one's own: a directory as `/`, mounts in it, and no way back to the host's.
#[derive(Debug)]
pub struct Rootfs {
    /// Where `/` comes from.
    pub root: Root,
    /// What is mounted in it, in this order (see [`plan`](crate::plan)).
    pub mounts: Vec<Mount>,
    /// Device nodes besides those that every container has.
    pub devices: Vec<Device>,
    /// Whether `/` itself is read-only. What is mounted in it decides for itself.
    pub read_only: bool,
    /// What is hidden: files under `/dev/null`, directories under an empty one.
    pub masked_paths: Vec<PathBuf>,
    /// What is mounted over itself read-only.
    pub readonly_paths: Vec<PathBuf>,
    clones: Clones,
}

/// Where a root comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A directory of the host. It is cloned outside, with the caller's rights to reach it.
    Directory(PathBuf),
    /// A mount that an earlier isolation of the list makes inside, as an overlay.
    Mounted(PathBuf),
}

/// Trees of the host that were cloned outside, detached. Nothing, where only the child may do that.
#[derive(Debug, Default)]
struct Clones {
    root: Option<OwnedFd>,
    mounts: Vec<Option<OwnedFd>>,
}

impl Rootfs {
    /// The root `root`, with Docker's mounts, masks and read-only paths.
    pub fn new(root: Root) -> Self {
        Self {
            root,
            mounts: default_mounts(),
            devices: Vec::new(),
            read_only: false,
            masked_paths: default_masked_paths(),
            readonly_paths: default_readonly_paths(),
            clones: Clones::default(),
        }
    }
}

impl Isolation for Rootfs {
    fn births(&self) -> Vec<Birth> {
        vec![Birth::New(Kind::Mount)]
    }

    /// Clones what comes from the host, while we still have the rights to reach it: in a user namespace the child is
    /// nobody special to the host's files, and a path below a directory of mode 0700 is closed to it.
    fn prepare(&mut self) -> Result<()> {
        if let Root::Directory(path) = &self.root {
            let found = fs::metadata(path).with_context(|| format!("look for the root {}", path.display()))?;
            ensure!(found.is_dir(), "the root {} is not a directory", path.display());
            self.clones.root = permitted(clone_root(path))?;
        }
        for mount in &self.mounts {
            self.clones.mounts.push(clone_outside(mount).with_context(|| format!("mount {mount}"))?);
        }
        Ok(())
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        for (mount, clone) in self.mounts.iter().zip(&self.clones.mounts).filter(|(mount, _)| mount.idmap) {
            map_owners(mount, clone.as_ref().map(AsFd::as_fd), child).with_context(|| format!("mount {mount}"))?;
        }
        Ok(())
    }

    fn inside(&mut self, _gate: &Gate, process: &mut Process) -> Result<()> {
        // The modes of all that is made here are meant as they are written.
        let mask = umask(Mode::empty());
        make_slave()?;
        self.clone_the_rest()?;
        let root = self.attach_root()?;
        self.mount_all(root.as_fd())?;
        if process.create_cwd {
            // Now: soon the root may be read-only.
            mkdir_all_in_root(root.as_fd(), &process.cwd, Mode::from_raw_mode(0o755))
                .with_context(|| format!("make the working directory {}", process.cwd.display()))?;
        }
        self.protect(root.as_fd())?;
        pivot_into(root.as_fd())?;
        umask(mask);
        Ok(())
    }

    /// The child has them now, and a clone that we hold on to keeps its filesystem busy on the host.
    fn adopt(&mut self, _gate: &Gate) -> Result<()> {
        self.clones = Clones::default();
        Ok(())
    }
}

impl Rootfs {
    /// Clones what could not be cloned outside.
    fn clone_the_rest(&mut self) -> Result<()> {
        for (mount, clone) in self.mounts.iter().zip(&mut self.clones.mounts) {
            if clone.is_none() && matches!(mount.source, MountSource::Bind { .. }) {
                *clone = Some(clone_inside(mount).with_context(|| format!("mount {mount}"))?);
            }
        }
        Ok(())
    }

    /// Attaches the root's clone over `/`, where `pivot_root(2)` will find it: it must be a mount point, and the host's
    /// directory itself need not be one. Paths still begin at the old root, below it, until the pivot.
    fn attach_root(&mut self) -> Result<OwnedFd> {
        let (Root::Directory(path) | Root::Mounted(path)) = &self.root;
        let root = match self.clones.root.take() {
            Some(root) => root,
            None => clone_root(path)?,
        };
        move_mount(&root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .with_context(|| format!("attach the root {}", path.display()))?;
        Ok(root)
    }

    fn mount_all(&mut self, root: BorrowedFd<'_>) -> Result<()> {
        for (mount, clone) in self.mounts.iter().zip(self.clones.mounts.drain(..)) {
            attach(root, mount, clone).with_context(|| format!("mount {mount}"))?;
        }
        self.devices.iter().try_for_each(|device| device.make(root))
    }

    /// Takes from the container what it may not see or change. Last, since the masks lie on the mounts.
    fn protect(&self, root: BorrowedFd<'_>) -> Result<()> {
        mask::mask(root, &self.masked_paths)?;
        mask::make_read_only(root, &self.readonly_paths)?;
        if self.read_only {
            mount_setattr(root, c"", Reach::Mount, MountAttrFlags::MOUNT_ATTR_RDONLY, None)
                .context("make the root read-only")?;
        }
        Ok(())
    }
}
