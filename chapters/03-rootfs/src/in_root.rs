//! Paths inside a container, resolved by the kernel and never outside of it.
//!
//! Whoever made the image, or runs in the container at this moment, decides what a path in it means: `/etc` may be a symbolic
//! link to the host's `/etc`, and `data/..` may be turned into something else between a check and its use. So a path in a
//! container is never joined to the path of its root. It is resolved with `openat2(RESOLVE_IN_ROOT)`, which treats the root
//! as `/` at every step (absolute links and `..` included), and what comes back is used as an fd (`openat2(2)`; the attacks
//! are CVE-2017-1002101, CVE-2018-15664, CVE-2021-30465 and many more).
//!
//! All functions here return [`io::Error`], so that a caller can decide by the error's kind; the caller adds what it wanted.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The kernel gives up after this many symbolic links (`path_resolution(7)`), and so do we.
const MAX_LINKS: usize = 40;

/// How often a lookup is tried again that the kernel could not finish because something was renamed meanwhile (EAGAIN).
const MAX_RACES: usize = 128;

/// How symbolic links on the way to a path are treated. None of them leads out of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are followed, as a process inside would.
    Follow,
    /// They are an error (ELOOP), the last component included: for places whose meaning nobody may move, like `/proc`.
    Refuse,
}

/// Opens a directory of the host as a root for the functions of this module.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens `path` as a process whose root is `root` would, whether it is written with a leading `/` or without.
///
/// `flags` are those of `open(2)`; CLOEXEC is added. Links are followed, the last one too unless `O_NOFOLLOW` is given; magic
/// links (`/proc/PID/fd/…`) are not. For a file that is to be read use [`read_in_root`]: opening what may be a FIFO hangs.
pub fn open_in_root(root: BorrowedFd<'_>, path: impl AsRef<Path>, flags: OFlags) -> io::Result<OwnedFd> {
    resolve(root, path.as_ref(), flags, Mode::empty(), Links::Follow)
}

/// Opens `path` in `root` and refuses symbolic links anywhere on the way (ELOOP).
pub fn open_in_root_nofollow(root: BorrowedFd<'_>, path: impl AsRef<Path>, flags: OFlags) -> io::Result<OwnedFd> {
    resolve(root, path.as_ref(), flags, Mode::empty(), Links::Refuse)
}

/// The directory that the last component of `path` is in, and that component: for what acts on a name and must not follow
/// it (unlink, rename, symlink, mknod …). The directory must exist.
///
/// EINVAL for a path without a last component to act on: empty, `/`, or ending in `..`.
pub fn parent_in_root(root: BorrowedFd<'_>, path: impl AsRef<Path>) -> io::Result<(OwnedFd, OsString)> {
    let (parent, name) = split(path.as_ref())?;
    let parent = open_in_root(root, parent, OFlags::PATH | OFlags::DIRECTORY)?;
    Ok((parent, name.to_owned()))
}

/// `mkdir -p` inside `root`: opens the directory `path` (O_PATH), after making what is missing of it with `mode`.
///
/// Links are followed inside the root, dangling ones too: what they point to is made. ENOTDIR if something else is there.
pub fn mkdir_all_in_root(root: BorrowedFd<'_>, path: impl AsRef<Path>, mode: Mode) -> io::Result<OwnedFd> {
    make(root, path.as_ref(), Links::Follow, Leaf::Directory, mode)
}

/// Opens the file `path` inside `root` (O_PATH), after making it, empty and with `mode`, and the directories to it (0755),
/// if they are missing. What is there already may be anything but a directory (EISDIR).
///
/// A dangling symbolic link is followed and its target made, as systemd's `/etc/resolv.conf` needs it.
pub fn create_in_root(root: BorrowedFd<'_>, path: impl AsRef<Path>, mode: Mode) -> io::Result<OwnedFd> {
    make(root, path.as_ref(), Links::Follow, Leaf::File, mode)
}

/// Reads a whole regular file inside `root`, of at most `limit` bytes; `None` if there is none.
///
/// For the files of an image that the engine itself must understand (`/etc/passwd`, `/etc/group`). They may be devices,
/// FIFOs or endless (CVE-2026-47262): all that is an error, and opening it has no effect.
pub fn read_in_root(root: BorrowedFd<'_>, path: impl AsRef<Path>, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let path = path.as_ref();
    let look = match open_in_root(root, path, OFlags::PATH) {
        Ok(fd) => fd,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Looked at before it is opened, because opening a device can do things; and again afterwards, because it may have
    // been exchanged. NONBLOCK, because then it may be a FIFO.
    regular(&look)?;
    let file = open_in_root(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    regular(&file)?;
    let mut content = Vec::new();
    File::from(file).take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes")));
    }
    Ok(Some(content))
}

/// The path that a process inside would get from `path` when it forgets about links: absolute, without `.`, `..`, `//`.
///
/// For comparing and printing destinations. It is *not* a safe way to reach them: `..` after a link means something else.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// What [`make`] makes at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    Directory,
    File,
}

/// Opens `path` as O_PATH, after making what is missing.
pub(crate) fn make(root: BorrowedFd<'_>, path: &Path, links: Links, leaf: Leaf, mode: Mode) -> io::Result<OwnedFd> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match resolve(root, &path, OFlags::PATH, Mode::empty(), links) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found.and_then(|fd| expect(fd, leaf)),
        }
        let (parent_path, name) = split(&path)?;
        let parent = make(root, parent_path, links, Leaf::Directory, Mode::from_raw_mode(0o755))?;
        if let Some(fd) = make_one(parent.as_fd(), name, leaf, mode)? {
            return Ok(fd);
        }
        // The name is there, and yet it was not found: a link to nowhere, or somebody was faster than we.
        match fs::readlinkat(&parent, name, Vec::new()) {
            Ok(_) if links == Links::Refuse => return Err(Errno::LOOP.into()),
            Ok(target) => path = parent_path.join(OsStr::from_bytes(target.to_bytes())),
            Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::LOOP.into())
}

/// Makes `name` in `parent` and opens it; `None` if something of that name is there already.
fn make_one(parent: BorrowedFd<'_>, name: &OsStr, leaf: Leaf, mode: Mode) -> io::Result<Option<OwnedFd>> {
    let made = match leaf {
        Leaf::Directory => fs::mkdirat(parent, name, mode),
        Leaf::File => fs::mknodat(parent, name, FileType::RegularFile, mode, 0),
    };
    match made {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // Not following: between the two calls a neighbour in the same tree may have put a link there.
    resolve(parent, Path::new(name), OFlags::PATH, Mode::empty(), Links::Refuse)
        .and_then(|fd| expect(fd, leaf))
        .map(Some)
}

/// Passes `fd` on if it is a directory exactly when it should be one.
fn expect(fd: OwnedFd, leaf: Leaf) -> io::Result<OwnedFd> {
    match (leaf, FileType::from_raw_mode(fs::fstat(&fd)?.st_mode)) {
        (Leaf::Directory, FileType::Directory) => Ok(fd),
        (Leaf::Directory, _) => Err(Errno::NOTDIR.into()),
        (Leaf::File, FileType::Directory) => Err(Errno::ISDIR.into()),
        (Leaf::File, _) => Ok(fd),
    }
}

fn regular(fd: &OwnedFd) -> io::Result<()> {
    match FileType::from_raw_mode(fs::fstat(fd)?.st_mode) {
        FileType::RegularFile => Ok(()),
        other => Err(io::Error::other(format!("not a regular file ({other:?})"))),
    }
}

/// The one `openat2` of this tree.
fn resolve(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode, links: Links) -> io::Result<OwnedFd> {
    // An empty path is the root itself here, as "" and "/" are for every caller.
    let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
    let mut how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        how |= ResolveFlags::NO_SYMLINKS;
    }
    for _ in 0..MAX_RACES {
        match fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// `a/b/c` → (`a/b`, `c`).
fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    // `file_name` looks past a trailing `/` and `/.`, and is `None` for `..`.
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(Errno::INVAL.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, create_dir_all, read, read_to_string, write};
    use std::os::unix::fs::symlink;

    use super::*;

    const DIRECTORY: Mode = Mode::from_raw_mode(0o755);
    const FILE: Mode = Mode::from_raw_mode(0o644);

    /// A directory with `outside/secret` and an empty `root`, opened.
    fn world() -> (tempfile::TempDir, OwnedFd) {
        let world = tempfile::tempdir().unwrap();
        create_dir(world.path().join("root")).unwrap();
        create_dir(world.path().join("outside")).unwrap();
        write(world.path().join("outside/secret"), "secret").unwrap();
        let root = open_root(&world.path().join("root")).unwrap();
        (world, root)
    }

    fn errno(error: &io::Error) -> Option<Errno> {
        error.raw_os_error().map(Errno::from_raw_os_error)
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let (world, root) = world();
        let here = world.path().join("root");
        symlink(world.path().join("outside"), here.join("absolute")).unwrap();
        symlink("../outside", here.join("relative")).unwrap();
        for path in ["absolute/secret", "relative/secret", "../outside/secret", "/../../outside/secret"] {
            let error = open_in_root(root.as_fd(), path, OFlags::PATH).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}");
        }
        assert!(open_in_root(root.as_fd(), "/", OFlags::PATH).is_ok());
        assert!(open_in_root(root.as_fd(), "", OFlags::PATH).is_ok());
    }

    #[test]
    fn what_is_missing_is_made_inside() {
        let (world, root) = world();
        let here = world.path().join("root");
        symlink("/made/far", here.join("dangling")).unwrap();
        mkdir_all_in_root(root.as_fd(), "/dangling/a/b", DIRECTORY).unwrap();
        assert!(here.join("made/far/a/b").is_dir());
        create_dir_all(here.join("etc")).unwrap();
        symlink("../run/systemd/resolv.conf", here.join("etc/resolv.conf")).unwrap();
        create_in_root(root.as_fd(), "etc/resolv.conf", FILE).unwrap();
        assert_eq!(read(here.join("run/systemd/resolv.conf")).unwrap(), b"");
        symlink("../../../outside/new", here.join("etc/up")).unwrap();
        create_in_root(root.as_fd(), "etc/up", FILE).unwrap();
        assert!(here.join("outside/new").is_file() && !world.path().join("outside/new").exists());
    }

    #[test]
    fn what_is_there_is_kept() {
        let (world, root) = world();
        write(world.path().join("root/file"), "x").unwrap();
        create_in_root(root.as_fd(), "file", FILE).unwrap();
        assert_eq!(read_to_string(world.path().join("root/file")).unwrap(), "x");
        let error = mkdir_all_in_root(root.as_fd(), "file/below", DIRECTORY).unwrap_err();
        assert_eq!(errno(&error), Some(Errno::NOTDIR));
        let error = create_in_root(root.as_fd(), "/", FILE).unwrap_err();
        assert_eq!(errno(&error), Some(Errno::ISDIR));
    }

    #[test]
    fn loops_and_odd_paths_end() {
        let (world, root) = world();
        symlink("loop", world.path().join("root/loop")).unwrap();
        let error = mkdir_all_in_root(root.as_fd(), "loop/x", DIRECTORY).unwrap_err();
        assert_eq!(errno(&error), Some(Errno::LOOP));
        let error = mkdir_all_in_root(root.as_fd(), "missing/..", DIRECTORY).unwrap_err();
        assert_eq!(errno(&error), Some(Errno::INVAL));
        assert!(parent_in_root(root.as_fd(), "/").is_err());
        assert_eq!(parent_in_root(root.as_fd(), "/name/").unwrap().1, "name");
    }

    #[test]
    fn links_can_be_refused() {
        let (world, root) = world();
        symlink("elsewhere", world.path().join("root/proc")).unwrap();
        create_dir(world.path().join("root/elsewhere")).unwrap();
        for links in [Links::Follow, Links::Refuse] {
            let made = make(root.as_fd(), Path::new("/proc"), links, Leaf::Directory, DIRECTORY);
            assert_eq!(made.is_ok(), links == Links::Follow);
        }
    }

    #[test]
    fn only_small_regular_files_are_read() {
        let (world, root) = world();
        let here = world.path().join("root");
        write(here.join("passwd"), "root:x:0:0::/:").unwrap();
        fs::mknodat(CWD, here.join("fifo"), FileType::Fifo, FILE, 0).unwrap();
        symlink("/dev/zero", here.join("zero")).unwrap();
        assert_eq!(read_in_root(root.as_fd(), "/passwd", 14).unwrap().unwrap(), b"root:x:0:0::/:");
        assert_eq!(read_in_root(root.as_fd(), "/passwd", 13).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read_in_root(root.as_fd(), "/fifo", 10).is_err());
        assert!(read_in_root(root.as_fd(), "/", 10).is_err());
        assert_eq!(read_in_root(root.as_fd(), "/zero", 10).unwrap(), None);
        assert_eq!(read_in_root(root.as_fd(), "/missing", 10).unwrap(), None);
    }

    #[test]
    fn cleaned_for_the_eye() {
        assert_eq!(clean(Path::new("a//b/./c/../d/")), Path::new("/a/b/d"));
        assert_eq!(clean(Path::new("/../..")), Path::new("/"));
    }
}
