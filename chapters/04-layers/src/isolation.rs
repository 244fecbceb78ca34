//! The isolation: a container's root tree, made of layers.

use std::path::PathBuf;

use anyhow::{Context, Result};
use namespaces::{Birth, Child, Gate, Isolation, Kind, Process};
use rootfs::make_slave;
use rustix::fd::AsFd;

use crate::mapped::{self, OVERLAY, make_reachable};
use crate::overlay::{Upper, attach, mount_overlay};
use crate::privilege::OverlayXattrs;

/// Layers under a writable directory, mounted in the container's own mount namespace and nowhere else: when its last
/// process is gone, so is the mount, even if the engine was killed.
///
/// It stands in the list before the `Rootfs` with the same `mountpoint`.
#[derive(Clone, Debug)]
pub struct Layers {
    /// The image's layers, the base first.
    pub lower: Vec<PathBuf>,
    /// What the container writes.
    pub upper: Upper,
    /// Where the tree is mounted: an existing directory, empty for everyone else.
    pub mountpoint: PathBuf,
}

impl Isolation for Layers {
    fn births(&self) -> Vec<Birth> {
        vec![Birth::New(Kind::Mount)]
    }

    /// Where the child has a user namespace, what it writes belongs to others on disk; and what it reads belongs to nobody
    /// inside unless the layers are mapped, which it cannot do.
    fn outside(&mut self, child: &Child) -> Result<()> {
        if let Some(overlay) = mapped::outside(child, &self.lower, &self.upper)? {
            child.give(OVERLAY, overlay);
        }
        Ok(())
    }

    fn inside(&mut self, gate: &Gate, _process: &mut Process) -> Result<()> {
        make_slave()?;
        let overlay = match gate.take_fd(OVERLAY) {
            Some(overlay) => {
                make_reachable(&self.mountpoint)?;
                overlay
            }
            // Asked for here, in the user namespace that the mount will belong to.
            None => mount_overlay(&self.lower, Some(&self.upper), OverlayXattrs::permitted())?,
        };
        attach(overlay.as_fd(), &self.mountpoint)
            .with_context(|| format!("mount the layers on {}", self.mountpoint.display()))
    }
}
