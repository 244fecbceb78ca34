//! The isolation itself.

use std::path::PathBuf;

use anyhow::Result;
use namespaces::{Birth, Gate, Isolation, Kind, Process};

use crate::mount::{Mount, default_mounts};

/// A root filesystem of one's own: a directory as `/`, mounts in it, and no way back to the host's.
#[derive(Debug)]
pub struct Rootfs {
    /// Where `/` comes from.
    pub root: Root,
    /// What is mounted in it, in this order (see [`plan`](crate::plan)).
    pub mounts: Vec<Mount>,
    /// Whether `/` itself is read-only. What is mounted in it decides for itself.
    pub read_only: bool,
    /// What is hidden: files under `/dev/null`, directories under an empty one.
    pub masked_paths: Vec<PathBuf>,
    /// What is mounted over itself read-only.
    pub readonly_paths: Vec<PathBuf>,
}

/// Where a root comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A directory of the host. It is cloned outside, with the caller's rights to reach it.
    Directory(PathBuf),
    /// A mount that an earlier isolation of the list makes inside, as an overlay.
    Mounted(PathBuf),
}

impl Rootfs {
    /// The root `root`, with Docker's mounts, masks and read-only paths.
    pub fn new(root: Root) -> Self {
        Self { root, mounts: default_mounts(), read_only: false, masked_paths: Vec::new(), readonly_paths: Vec::new() }
    }
}

impl Isolation for Rootfs {
    fn births(&self) -> Vec<Birth> {
        vec![Birth::New(Kind::Mount)]
    }

    fn prepare(&mut self) -> Result<()> {
        anyhow::bail!("not yet")
    }

    fn inside(&mut self, _gate: &Gate, _process: &mut Process) -> Result<()> {
        anyhow::bail!("not yet")
    }
}
