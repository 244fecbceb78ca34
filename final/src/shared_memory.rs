//! The `/dev/shm` of another container, for one that shares its IPC namespace (`--ipc container:NAME`).
//!
//! POSIX shared memory is files on a tmpfs (`shm_overview(7)`), which no namespace but the mount namespace keeps apart. So
//! who shares the IPC namespace is to have the same tmpfs as well. It is mounted in the other container and nowhere else,
//! and only from within its mount namespace can it be cloned: somebody is sent there, and brings it back through the gate.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use namespaces::{Container, Enter, Gate, Isolation, Kind, Process};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// Where it is, in every container.
const PLACE: &str = "/dev/shm";
/// What it is called at the gate.
const NAME: &str = "shared memory";

/// Mounts the `/dev/shm` of another container on ours. Stands after the root filesystem.
pub struct SharedMemory {
    of: Pid,
    tree: Option<OwnedFd>,
}

impl SharedMemory {
    /// That of the container whose main process is `of`.
    pub fn of(of: Pid) -> SharedMemory {
        SharedMemory { of, tree: None }
    }
}

impl Isolation for SharedMemory {
    fn prepare(&mut self) -> Result<()> {
        let fetched = Rc::default();
        let isolations: Vec<Box<dyn Isolation>> = vec![
            Box::new(Enter::only(self.of, &[Kind::User, Kind::Mount])?),
            Box::new(Fetch { fetched: Rc::clone(&fetched) }),
        ];
        // One that comes as far as that. Dropped then, it ends without ever having executed anything.
        let fetcher =
            Container::new(Process::new(Vec::new()), isolations, network::undo).patience(crate::exec::PATIENCE);
        drop(fetcher.create().context("fetch the other container's /dev/shm")?);
        self.tree = fetched.take();
        Ok(())
    }

    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        let tree = self.tree.take().context("the other container's /dev/shm was not fetched")?;
        let root = rootfs::open_root(Path::new("/")).context("open the root")?;
        let place = rootfs::mkdir_all_in_root(root.as_fd(), PLACE, Mode::from_raw_mode(0o1777));
        let place = place.with_context(|| format!("make {PLACE}"))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &place, "", flags).with_context(|| format!("mount the other container's {PLACE}"))
    }

    fn adopt(&mut self, _: &Gate) -> Result<()> {
        self.tree = None; // the child has it
        Ok(())
    }
}

/// Clones it where it is, and sends it home.
struct Fetch {
    fetched: Rc<RefCell<Option<OwnedFd>>>,
}

impl Isolation for Fetch {
    fn inside(&mut self, gate: &Gate, _: &mut Process) -> Result<()> {
        // Whoever is in there may have put a link in its place.
        let root = rootfs::open_root(Path::new("/")).context("open the root")?;
        let place = rootfs::open_in_root_nofollow(root.as_fd(), PLACE, OFlags::PATH | OFlags::DIRECTORY);
        let place = place.with_context(|| format!("open its {PLACE}"))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = open_tree(&place, "", flags).with_context(|| format!("clone its {PLACE} (open_tree)"))?;
        gate.send_fd(NAME, tree.as_fd())
    }

    fn adopt(&mut self, gate: &Gate) -> Result<()> {
        *self.fetched.borrow_mut() = gate.take_fd(NAME);
        Ok(())
    }
}
