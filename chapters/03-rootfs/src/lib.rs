//! Chapter 3: a root filesystem of one's own.
//! (map to be written)

mod attach;
mod cgroupfs;
pub mod dev;
mod filesystem;
pub mod in_root;
pub mod mask;
pub mod mount;
pub mod pivot;
pub mod plan;
pub mod rootfs;
mod sys;

pub use in_root::{
    Links, clean, create_in_root, mkdir_all_in_root, open_in_root, open_in_root_nofollow, open_root, parent_in_root,
    read_in_root,
};
pub use mount::{Mount, MountSource, Propagation, default_mounts};
pub use pivot::{make_private, pivot_into};
pub use rootfs::{Root, Rootfs};
