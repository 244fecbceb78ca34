//! Putting files into the tree under construction, by Docker's rules of where they go.
//!
//! The destination is a path in a stranger's image: `COPY key /etc/app/` may meet an `/etc/app` that is a link to
//! `/../../root`. Every path is resolved by the kernel inside the tree (`openat2(RESOLVE_IN_ROOT)`), so the link means what
//! it would mean to a process in the container.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rootfs::{create_in_root, mkdir_all_in_root, open_in_root, parent_in_root};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fgetxattr,
    flistxattr, fsetxattr, fstat, futimens, mknodat, openat, symlinkat, unlinkat, utimensat,
};

use crate::context::node::{Identity, Node, NodeKind, Picked};
use crate::context::tree::Tree;
use crate::syntax::is_directory;

/// Where a COPY goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// An absolute path in the tree.
    pub path: PathBuf,
    /// It was written as a directory: `/a/`, `.`.
    pub directory: bool,
}

impl Destination {
    /// Reads a destination; a relative one starts at the working directory.
    pub fn new(text: &str, workdir: &str) -> Destination {
        Destination { path: Path::new("/").join(workdir).join(text), directory: is_directory(text) }
    }
}

/// Copies into the tree whose root is `root`.
pub struct Copier<'a> {
    /// The root of the tree.
    pub root: BorrowedFd<'a>,
    /// Who is to own what is made; `None` keeps the source's owners.
    pub owner: Option<(u32, u32)>,
    /// `--chmod`: permissions of what is copied; `None` keeps the source's.
    pub mode: Option<u32>,
    /// Whether extended attributes come along: between images they belong to a file (capabilities), from a user's
    /// directory they are an accident.
    pub xattrs: bool,
}

impl Copier<'_> {
    /// Copies one thing that a COPY names. What is in a directory goes into the destination, a file goes into it if it is
    /// a directory, and becomes it if not.
    pub fn copy(&self, tree: &Tree, picked: &Picked, to: &Destination) -> Result<()> {
        let Some((top, rest)) = picked.nodes.split_first() else { return Ok(()) };
        if top.kind != NodeKind::Directory {
            let place = self.place_of(&picked.name, to);
            self.directories(parent(&place))?;
            return self.put(tree, top, &place, true);
        }
        let made = self.directories(&to.path)?;
        for node in rest {
            let place = to.path.join(&node.below);
            self.put(tree, node, &place, false).with_context(|| format!("copy {}", node.path.display()))?;
        }
        // Times last, since putting something into a directory changes its own; and the deepest first.
        let directories = rest.iter().rev().filter(|node| node.kind == NodeKind::Directory);
        for node in directories {
            self.dress_directory(node, &to.path.join(&node.below))?;
        }
        if made {
            self.dress_directory(top, &to.path)?;
        }
        Ok(())
    }

    /// Writes a file whose content stands in the Dockerfile.
    pub fn write(&self, name: &str, content: &[u8], to: &Destination) -> Result<()> {
        let place = self.place_of(name.as_ref(), to);
        self.directories(parent(&place))?;
        let mut file = File::from(self.file(&place, true)?);
        file.write_all(content).with_context(|| format!("write {}", place.display()))?;
        self.own(&file, (0, 0))?;
        fchmod(&file, Mode::from_raw_mode(self.mode.unwrap_or(0o644)))?;
        Ok(())
    }

    /// Makes the directory `path` and those to it, where they are missing. Gives whether the last one was.
    pub fn directories(&self, path: &Path) -> Result<bool> {
        let mut last_made = false;
        let mut so_far = PathBuf::from("/");
        for component in path.components().skip(1) {
            so_far.push(component);
            let failed = || format!("make the directory {}", so_far.display());
            match open_in_root(self.root, &so_far, OFlags::PATH | OFlags::DIRECTORY) {
                Ok(_) => last_made = false,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let made =
                        mkdir_all_in_root(self.root, &so_far, Mode::from_raw_mode(0o755)).with_context(failed)?;
                    // Whatever our umask takes away: it is for every user of the image.
                    let open = openat(&made, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
                    open.and_then(|open| fchmod(open, Mode::from_raw_mode(0o755))).with_context(failed)?;
                    if let Some((uid, gid)) = self.owner {
                        chownat(&made, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)
                            .with_context(failed)?;
                    }
                    last_made = true;
                }
                Err(error) => return Err(error).with_context(failed),
            }
        }
        Ok(last_made)
    }

    fn place_of(&self, name: &std::ffi::OsStr, to: &Destination) -> PathBuf {
        let is_directory = || open_in_root(self.root, &to.path, OFlags::PATH | OFlags::DIRECTORY).is_ok();
        if to.directory || is_directory() { to.path.join(name) } else { to.path.clone() }
    }

    /// Makes one node. `follow`: a link at the place itself leads to where the file goes.
    fn put(&self, tree: &Tree, node: &Node, place: &Path, follow: bool) -> Result<()> {
        match &node.kind {
            NodeKind::Directory => self.directories(place).map(drop),
            NodeKind::File => self.put_file(tree, node, place, follow),
            NodeKind::Link(target) => {
                let (parent, name) = self.free_place(place)?;
                symlinkat(target, &parent, &name).with_context(|| format!("make the link {}", place.display()))?;
                self.dress_name(&parent, &name, node)
            }
            NodeKind::Special(FileType::CharacterDevice, 0) => {
                bail!("{} stands for a removed file in a layer and cannot be copied", node.path.display());
            }
            NodeKind::Special(kind, device) => {
                let (parent, name) = self.free_place(place)?;
                let mode = Mode::from_raw_mode(self.mode.unwrap_or(node.mode));
                mknodat(&parent, &name, *kind, mode, *device).with_context(|| format!("make {}", place.display()))?;
                self.dress_name(&parent, &name, node)
            }
        }
    }

    fn put_file(&self, tree: &Tree, node: &Node, place: &Path, follow: bool) -> Result<()> {
        let mut source = File::from(tree.open_file(node)?);
        let mut file = File::from(self.file(place, follow)?);
        // Between two files this is copy_file_range(2): on file systems that can, the blocks are shared.
        io::copy(&mut source, &mut file).with_context(|| format!("write {}", place.display()))?;
        if Identity::new(&fstat(&source)?) != node.identity {
            // The cache key was made of what it was before.
            bail!("{} changed while it was copied (build again)", node.path.display());
        }
        self.own(&file, (node.uid, node.gid))?;
        fchmod(&file, Mode::from_raw_mode(self.mode.unwrap_or(node.mode)))?;
        if self.xattrs {
            // After the owner: chown(2) takes capabilities away.
            copy_xattrs(&source, &file).with_context(|| format!("copy the attributes of {}", node.path.display()))?;
        }
        futimens(&file, &times(node)).context("set its time")
    }

    /// Opens a file to be written, new or emptied.
    fn file(&self, place: &Path, follow: bool) -> Result<OwnedFd> {
        let failed = || format!("write {}", place.display());
        if follow && self.kind_at(place)? == Some(FileType::Symlink) {
            // What a dangling link points to is made.
            let target = create_in_root(self.root, place, Mode::from_raw_mode(0o600)).with_context(failed)?;
            if FileType::from_raw_mode(fstat(&target)?.st_mode) != FileType::RegularFile {
                bail!("{} leads to something that is no regular file", place.display());
            }
            return open_in_root(self.root, place, OFlags::WRONLY | OFlags::TRUNC | OFlags::NONBLOCK)
                .with_context(failed);
        }
        let (parent, name) = self.free_place(place)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&parent, &name, flags, Mode::from_raw_mode(0o600)).with_context(failed)
    }

    /// The directory and the name of a place with nothing there; what was there is removed, unless it is a directory.
    fn free_place(&self, place: &Path) -> Result<(OwnedFd, std::ffi::OsString)> {
        let failed = || format!("replace {}", place.display());
        if self.kind_at(place)? == Some(FileType::Directory) {
            bail!("cannot replace the directory {} by a file", place.display());
        }
        let (parent, name) = parent_in_root(self.root, place).with_context(failed)?;
        match unlinkat(&parent, &name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok((parent, name)),
            Err(error) => Err(error).with_context(failed),
        }
    }

    fn kind_at(&self, place: &Path) -> Result<Option<FileType>> {
        match open_in_root(self.root, place, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => Ok(Some(FileType::from_raw_mode(fstat(&fd)?.st_mode))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("look at {}", place.display())),
        }
    }

    fn own(&self, file: impl AsFd, source: (u32, u32)) -> Result<()> {
        let (uid, gid) = self.owner.unwrap_or(source);
        fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .with_context(|| format!("give it to {uid}:{gid}"))
    }

    fn dress_directory(&self, node: &Node, place: &Path) -> Result<()> {
        let directory = open_in_root(self.root, place, OFlags::RDONLY | OFlags::DIRECTORY)
            .with_context(|| format!("open the directory {}", place.display()))?;
        self.own(&directory, (node.uid, node.gid))?;
        fchmod(&directory, Mode::from_raw_mode(self.mode.unwrap_or(node.mode)))?;
        futimens(&directory, &times(node)).context("set its time")
    }

    fn dress_name(&self, parent: &OwnedFd, name: &std::ffi::OsStr, node: &Node) -> Result<()> {
        let (uid, gid) = self.owner.unwrap_or((node.uid, node.gid));
        chownat(parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
            .with_context(|| format!("give it to {uid}:{gid}"))?;
        utimensat(parent, name, &times(node), AtFlags::SYMLINK_NOFOLLOW).context("set its time")
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn times(node: &Node) -> Timestamps {
    let (seconds, nanoseconds) = node.identity.mtime;
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Copies what belongs to the file itself: `user.*`, and its capabilities. What other modules keep there (`trusted.*`, the
/// marks of overlayfs) is theirs.
fn copy_xattrs(from: &File, to: &File) -> io::Result<()> {
    let mut names = vec![0u8; 64 << 10];
    let length = match flistxattr(from, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut value = vec![0u8; 64 << 10];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name == b"security.capability" || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") {
            let length = fgetxattr(from, name, &mut value)?;
            fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rootfs::open_root;

    use super::*;
    use crate::context::ignore::Ignore;
    use crate::context::tree::Origin;

    /// Copies `source` of a sample context to `destination` in the tree `root`, as whoever runs the test.
    fn copy(root: &Path, source: &str, destination: &str) -> Result<()> {
        let context = tempfile::tempdir().unwrap();
        fs::create_dir_all(context.path().join("dir/sub")).unwrap();
        fs::write(context.path().join("dir/sub/file"), "nested").unwrap();
        fs::write(context.path().join("file"), "content").unwrap();
        fs::set_permissions(context.path().join("file"), PermissionsExt::from_mode(0o4751)).unwrap();
        symlink("sub/file", context.path().join("dir/link")).unwrap();
        let tree = Tree::open(context.path(), Origin::Context, Ignore::default()).unwrap();
        let root = open_root(root).unwrap();
        let copier = Copier { root: root.as_fd(), owner: None, mode: None, xattrs: false };
        let to = Destination::new(destination, "/work");
        tree.pick(source, &Ignore::default())?.iter().try_for_each(|picked| copier.copy(&tree, picked, &to))
    }

    fn read(root: &Path, path: &str) -> String {
        fs::read_to_string(root.join(path)).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_file_becomes_the_destination_or_goes_into_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("there")).unwrap();
        for (destination, place) in
            [("/new", "new"), ("/there", "there/file"), ("/x/y/", "x/y/file"), (".", "work/file"), ("rel", "work/rel")]
        {
            copy(root.path(), "file", destination).unwrap();
            assert_eq!(read(root.path(), place), "content", "{destination}");
        }
        let mode = fs::metadata(root.path().join("new")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o4751);
    }

    #[test]
    fn what_is_in_a_directory_goes_into_the_destination() {
        let root = tempfile::tempdir().unwrap();
        copy(root.path(), "dir", "/a/b").unwrap();
        assert_eq!(read(root.path(), "a/b/sub/file"), "nested");
        assert_eq!(fs::read_link(root.path().join("a/b/link")).unwrap(), Path::new("sub/file"));
        copy(root.path(), "dir", "/a/b").unwrap(); // over itself
        assert!(copy(root.path(), "file", "/a/b/sub/file/x").is_err());
    }

    #[test]
    fn links_in_the_tree_stay_in_the_tree() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("escape")).unwrap();
        symlink("../../../../../../../../target", root.path().join("up")).unwrap();
        copy(root.path(), "file", "/escape/x").unwrap();
        copy(root.path(), "dir", "/up").unwrap();
        copy(root.path(), "file", "/up/sub/file").unwrap();
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
        assert_eq!(read(root.path(), "target/sub/file"), "content");
        let inside = root.path().join(outside.path().strip_prefix("/").unwrap());
        assert_eq!(fs::read_to_string(inside.join("x")).unwrap(), "content");
    }
}
