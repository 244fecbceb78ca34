//! Walking through a cgroup and those below it.
//!
//! A container that manages cgroups itself may have made some below its own, and a hostile one may have made them so deep
//! that no path reaches them (`PATH_MAX`), or that a function calling itself for each runs out of stack. So we go by
//! descriptors, down by name and up by "..", with one open at a time.

use std::ffi::{CStr, CString};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, unlinkat};

/// Calls `enter` with every cgroup from `top` downwards, parents first.
///
/// What disappears meanwhile is passed over; if that is where we stand, it is an error of the kind NotFound.
pub(crate) fn each(top: &Path, mut enter: impl FnMut(&OwnedFd) -> io::Result<()>) -> io::Result<()> {
    walk(top, &mut enter, &mut |_, _| Ok(()))
}

/// Removes `top` and all below it, deepest first. They must have no processes.
pub(crate) fn remove(top: &Path) -> io::Result<()> {
    match walk(top, &mut |_| Ok(()), &mut remove_directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {} // at the top: it is gone, and removing it will say so
    }
    match std::fs::remove_dir(top) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn remove_directory(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// Goes down and up again: `enter` is called on the way down, `leave` on the way up with the parent and the name.
fn walk(
    top: &Path,
    enter: &mut dyn FnMut(&OwnedFd) -> io::Result<()>,
    leave: &mut dyn FnMut(&OwnedFd, &CStr) -> io::Result<()>,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = openat(CWD, top, flags, Mode::empty())?;
    enter(&here)?;
    // On each level what is still to be entered; its last entry is where we are while we are below.
    let mut levels = vec![directories(&here)?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.last() {
            match openat(&here, name, flags, Mode::empty()) {
                Ok(below) => here = below,
                Err(rustix::io::Errno::NOENT) => {
                    level.pop();
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            enter(&here)?;
            levels.push(directories(&here)?);
            continue;
        }
        levels.pop();
        let Some(name) = levels.last_mut().and_then(Vec::pop) else { break };
        here = openat(&here, c"..", flags, Mode::empty())?;
        leave(&here, &name)?;
    }
    Ok(())
}

fn directories(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;

    /// Deeper than PATH_MAX, and wide.
    fn forest(top: &Path) {
        std::fs::create_dir_all(top).unwrap();
        let mut here = openat(CWD, top, OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..100 {
            for name in [c"a-rather-long-name-so-that-a-hundred-of-them-make-a-path-of-over-four-kilobytes", c"b", c"c"]
            {
                mkdirat(&here, name, Mode::RWXU).unwrap();
            }
            here = openat(
                &here,
                c"a-rather-long-name-so-that-a-hundred-of-them-make-a-path-of-over-four-kilobytes",
                OFlags::PATH,
                Mode::empty(),
            )
            .unwrap();
        }
    }

    #[test]
    fn what_no_path_reaches_is_found_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("top");
        forest(&top);
        let mut count = 0;
        each(&top, |_| {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 301);
        remove(&top).unwrap();
        assert!(!top.exists());
        remove(&top).unwrap();
    }
}
