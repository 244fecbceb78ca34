//! Removing a tree of any depth.
//!
//! `std::fs::remove_dir_all` keeps a descriptor open for each level, and gives up with EMFILE in a tree that a container can
//! make with a loop of `mkdir` and `cd`. Here each directory found is first moved up to the top, which costs two
//! microseconds and leaves nothing to descend into.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Removes `path` and all that is in it; links in it are not followed, and nothing there is as good as removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    remove_at(CWD, path.as_os_str())
}

/// The same for what is called `name` in an open directory.
pub fn remove_tree_at(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    remove_at(parent, name.as_ref())
}

/// Removes `name` in `parent`, whatever it is.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let top = open(parent, name)?;
    let mut moved_up = 0;
    let mut directories = empty(top.as_fd(), top.as_fd(), &mut moved_up)?;
    while let Some(directory) = directories.pop() {
        directories.extend(empty(open(top.as_fd(), &directory)?.as_fd(), top.as_fd(), &mut moved_up)?);
        fs::unlinkat(&top, &directory, AtFlags::REMOVEDIR)?;
    }
    match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Empties `dir`: files are unlinked, directories moved into `top`. Gives the directories' names there.
fn empty(dir: BorrowedFd<'_>, top: BorrowedFd<'_>, moved_up: &mut u64) -> io::Result<Vec<OsString>> {
    let mut directories = Vec::new();
    // Read to the end before anything is moved: what a directory gains while it is read may or may not turn up.
    for name in names(dir)? {
        match fs::unlinkat(dir, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut permitted = false;
        let unique = loop {
            *moved_up += 1;
            let unique = OsString::from(format!(".removed-{moved_up}"));
            match fs::renameat_with(dir, &name, top, &unique, fs::RenameFlags::NOREPLACE) {
                Ok(()) => break unique,
                Err(Errno::EXIST) => {}
                // To move a directory is to write its "..", which needs the right to write into it.
                // Tried once: a directory of somebody else's stays as it is.
                Err(Errno::ACCESS) if !permitted => {
                    permitted = true;
                    drop(open(dir, &name)?);
                }
                Err(error) => return Err(error.into()),
            }
        };
        directories.push(unique);
    }
    Ok(directories)
}

/// The names in a directory, without `.` and `..`.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Opens a directory for emptying it; its owner may have to permit that first.
fn open(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |flags| fs::openat(parent, name, flags, Mode::empty());
    if !rustix::process::geteuid().is_root() {
        let stat = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && stat.st_mode & 0o700 != 0o700 {
            fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
        }
    }
    Ok(open(flags | OFlags::RDONLY)?)
}

/// A name that nobody else has, to be claimed by an exclusive create.
pub(crate) fn random_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    // std seeds its hash tables from getrandom(2).
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, create_dir_all, write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn removes_deep_trees_and_follows_nothing() {
        let outside = tempfile::tempdir().unwrap();
        write(outside.path().join("canary"), "alive").unwrap();
        let here = tempfile::tempdir().unwrap();
        let top = here.path().join("top");
        create_dir_all(top.join(".removed-1/x")).unwrap();
        symlink(outside.path(), top.join("link")).unwrap();
        // 2000 levels: the path is longer than PATH_MAX, and the descriptors of all levels more than one may have.
        let mut dir = open(CWD, top.as_os_str()).unwrap();
        for _ in 0..2000 {
            fs::mkdirat(&dir, "deeper", Mode::RWXU).unwrap();
            dir = open(dir.as_fd(), OsStr::new("deeper")).unwrap();
        }
        remove_tree(&top).unwrap();
        assert!(!top.exists() && outside.path().join("canary").exists());
        remove_tree(&top).unwrap();
    }

    #[test]
    fn opens_what_its_owner_closed() {
        let here = tempfile::tempdir().unwrap();
        let closed = here.path().join("top/closed");
        create_dir_all(closed.join("in")).unwrap();
        create_dir(closed.join("in/more")).unwrap();
        for path in [closed.join("in"), closed.clone(), here.path().join("top")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o0)).unwrap();
        }
        remove_tree(&here.path().join("top")).unwrap();
        assert!(!here.path().join("top").exists());
    }
}
