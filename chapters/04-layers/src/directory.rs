//! A directory that others than its maker look into.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Makes a directory of exactly this mode, whatever our umask would take away from it (`mkdir(2)`).
///
/// The topmost layer lends its mode to the root of a container, and a volume its to the place where it is mounted. Made
/// under the umask of 077 that careful administrators have, nobody but root could execute anything in the container.
pub fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// The same where there is none yet, with the directories above it, which the umask may narrow.
pub fn ensure_directory(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match make_directory(path, mode) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}
