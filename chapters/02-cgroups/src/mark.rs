//! Which cgroups above a container's were made for it: an extended attribute that the directory has.
//!
//! A `--cgroup-parent` of the user's stays when the last container in it ends, one that was missing goes. A list of what was
//! made would not do: of two containers that start at once one makes the parent and the other is the last in it.

use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};

/// `user.`, as that is also an ordinary user's to set; cgroups have such attributes since Linux 5.7.
const NAME: &str = "user.minidocker.made";

/// Marks a directory that we have just made. Where that fails it will stay, which harms nobody.
pub(crate) fn ours(directory: &Path) {
    let _ = setxattr(directory, NAME, b"1", XattrFlags::CREATE);
}

/// Whether we have made a directory.
pub(crate) fn is_ours(directory: &Path) -> bool {
    getxattr(directory, NAME, &mut [0; 1][..]).is_ok()
}
