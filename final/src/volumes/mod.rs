//! Volumes: files that outlive the container, and what of a container is mounted, as data.
//!
//! | file | idea |
//! |---|---|
//! | [`saved`] | a mount as `container.json` has it |
//! | [`wished`] | from `-v`, `--mount`, `--volumes-from` and the image's `VOLUME` to mounts |
//! | [`store`] | named and unnamed volumes on disk |
//! | [`copy_up`] | what the image has where an empty volume goes |
//!
//! ```text
//! ROOT/volumes/NAME/           0701: named in nobody's listing, and passable for the namespaces of ordinary users
//!   volume.json                when it was made, its labels and options
//!   _data/                     what is mounted
//!   filling/                   while an empty one is being filled (see copy_up)
//! ```

pub mod copy_up;
pub mod saved;
pub mod store;
pub mod wished;

pub use copy_up::CopyUp;
pub use saved::SavedMount;
pub use store::VolumeStore;
pub use wished::{VolumesFrom, Wished};
