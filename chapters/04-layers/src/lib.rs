//! Chapter 4: copy-on-write layers.
//!
//! An image is a stack of layers; a layer is a tar of what changed. This crate turns such tars into directories, stacks
//! the directories by overlayfs, and turns what a container changed into the next tar. In reading order:
//!
//! | file | idea |
//! |---|---|
//! | [`overlay`], `older` | the overlay mount, by the new mount API, and on kernels before it was complete |
//! | [`isolation`] | [`Layers`], the isolation that gives it to a container |
//! | `mapped`, `ids` | root's layers in a container with a user namespace, and whose files that makes |
//! | [`digest`] | digest, diff ID, chain ID: the names of content |
//! | [`entry`], `header`, `pax`, [`sparse`] | reading a tar: its entries, their headers, PAX records, files with holes |
//! | [`name`] | what an entry's name means: a place, a whiteout, an opaque directory; never a way out |
//! | [`privilege`] | what our rights let us keep of a layer |
//! | `tree`, `dress` | writing files as a stranger's archive demands, and never outside; owners, modes, attributes |
//! | [`unpack`](mod@unpack) | the three together: a layer tar becomes a directory |
//! | [`compressed`], `ahead` | gunzipping, hashing and writing at once |
//! | [`store`] | unpacked layers, each once, appearing whole |
//! | [`diff`](mod@diff), `below`, `walk` | what a container changed |
//! | `notes` | what the disk could not keep of a layer |
//! | [`pack`](mod@pack), `write` | a directory becomes a layer tar, the same one always the same |
//! | [`copy`](mod@copy) | a tree becomes another, with all that a layer may hold |
//! | [`directory`] | making one that others look into |
//! | [`remove`] | removing trees of any depth |
//! | [`args`] | the flags |
//!
//! Invariants: nothing here follows a link out of a layer, and nothing here talks to the network.

mod ahead;
pub mod args;
mod below;
pub mod compressed;
pub mod copy;
pub mod diff;
pub mod digest;
pub mod directory;
mod dress;
pub mod entry;
mod header;
mod ids;
pub mod isolation;
mod mapped;
pub mod name;
mod notes;
mod older;
pub mod overlay;
pub mod pack;
mod pax;
pub mod privilege;
pub mod remove;
pub mod sparse;
pub mod store;
mod tree;
pub mod unpack;
mod walk;
mod write;

pub use args::LayerArgs;
pub use compressed::{Compression, Decompressed, Unpacked, unpack_compressed};
pub use copy::{Attributes, copy_tree};
pub use diff::{Change, ChangeKind, diff};
pub use digest::{Digest, Hashing, chain_id};
pub use directory::{ensure_directory, make_directory};
pub use entry::{Entries, Entry, EntryKind, Timestamp};
pub use isolation::Layers;
pub use name::Target;
pub use overlay::{Upper, mount_overlay};
pub use pack::{Packed, pack, pack_above};
pub use privilege::{OverlayXattrs, Owners};
pub use remove::{remove_tree, remove_tree_at};
pub use store::LayerStore;
pub use unpack::{Contents, UnpackOptions, unpack};

/// Undoes what a record names. This chapter writes none: its mounts end with the container, and whose the directories are
/// is for the caller to know.
pub use rootfs::undo;
