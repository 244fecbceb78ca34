//! Chapter 3: a root filesystem of one's own.
//!
//! A mount namespace (chapter 1) is a copy of the host's mounts: it is private, and it shows everything. This crate puts
//! another tree in its place: a directory as `/`, the kernel's filesystems in it, and no way back. In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`rootfs`] | the [`Rootfs`] isolation: from the clones made outside to the pivot inside |
//! | [`pivot`] | propagation cut off, and `pivot_root(2)` |
//! | [`mount`] | one mount as data; the mounts that every container has |
//! | [`plan`](mod@plan) | default mounts and a user's wishes become one list |
//! | `source` | the host's side of a bind |
//! | `attach` | carrying out one mount, by descriptors |
//! | `filesystem` | new filesystems and clones, attached nowhere yet |
//! | [`in_root`] | paths inside a container, resolved by `openat2(2)` |
//! | [`propagation`] | how mounts that appear later spread |
//! | [`dev`] | `/dev`: nodes, links, the console |
//! | [`device`] | a device node, and where none may be made |
//! | `cgroupfs` | the container's own cgroups, v1 and v2 |
//! | [`mask`] | hiding what the kernel shows too much of |
//! | [`volume`], [`wish`], [`tmpfs`], [`device_wish`], [`args`] | what users write |
//! | `sys` | `mount_setattr(2)` |
//!
//! Invariants: a path inside a container is resolved by the kernel below its root, and never joined to it. All that is
//! mounted lies in the container's mount namespace, so that nothing is left on the host, whoever is killed and when, and
//! nothing needs to be unmounted: the kernel does it when the last process is gone.
//!
//! Needs Linux 5.12 (`mount_setattr`); tested with 6.1 and 6.18.

pub mod args;
mod attach;
mod cgroupfs;
pub mod dev;
pub mod device;
pub mod device_wish;
mod filesystem;
pub mod in_root;
pub mod mask;
pub mod mount;
pub mod pivot;
pub mod plan;
pub mod propagation;
pub mod rootfs;
mod source;
mod sys;
pub mod tmpfs;
pub mod volume;
pub mod wish;

pub use args::{RootfsArgs, find_devices};
pub use dev::bind_console;
pub use device::Device;
pub use device_wish::DeviceWish;
pub use in_root::{
    clean, create_in_root, mkdir_all_in_root, open_in_root, open_in_root_nofollow, open_root, parent_in_root,
    read_in_root,
};
pub use mask::{default_masked_paths, default_readonly_paths};
pub use mount::{Mount, MountSource, default_mounts};
pub use pivot::{make_slave, pivot_into};
pub use plan::plan;
pub use propagation::Propagation;
pub use rootfs::{Root, Rootfs};
pub use source::check_source;
pub use sys::{Reach, idmap, mount_setattr};
pub use tmpfs::{Tmpfs, parse_tmpfs};
pub use volume::{Volume, VolumeSource};
pub use wish::MountWish;

/// Undoes what a record names. This chapter leaves nothing behind and has none of its own.
pub fn undo(record: &namespaces::Record) -> anyhow::Result<()> {
    cgroups::undo(record)
}
