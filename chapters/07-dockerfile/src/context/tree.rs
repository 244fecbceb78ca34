//! A directory tree that COPY takes files from, looked into without ever leaving it.
//!
//! The context may hold anything: a symbolic link `logo.png -> /etc/shadow` in a stranger's repository must not put the
//! builder's own files into an image. So links are resolved here, step by step, and what is opened is opened by
//! `openat2(2)` without following any: a link that appears between the look and the use is an error, not a way out.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use rootfs::{open_in_root_nofollow, open_root};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, FileType, OFlags, fstat, readlinkat};

use super::ignore::Ignore;
use super::node::{Identity, Node, NodeKind, Picked};
use super::pattern::{Pattern, is_pattern};

/// The kernel's own limit (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// A tree to take files from.
pub struct Tree {
    root: OwnedFd,
    origin: Origin,
    ignore: Ignore,
}

/// What kind of place a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The build context. It is the user's own directory: `/` in a link means the host's root, which is out of bounds.
    Context,
    /// The root of an image or a stage: `/` in a link means that root.
    Image,
}

impl Tree {
    /// The tree below the directory `path`, of which `ignore` hides a part.
    pub fn open(path: &Path, origin: Origin, ignore: Ignore) -> Result<Tree> {
        let root = open_root(path).with_context(|| format!("open the directory {}", path.display()))?;
        Ok(Tree { root, origin, ignore })
    }

    /// The tree of an image, by a descriptor of its root.
    pub fn of_image(root: OwnedFd) -> Tree {
        Tree { root, origin: Origin::Image, ignore: Ignore::default() }
    }

    /// What kind of place it is.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What `source` names: one thing, or what its wildcards match, sorted; less what `exclude` names below it.
    ///
    /// # Errors
    ///
    /// Nothing there; or a path, or a link on the way, that leads outside.
    pub fn pick(&self, source: &str, exclude: &Ignore) -> Result<Vec<Picked>> {
        let written = Path::new(source);
        let mut found = vec![PathBuf::new()];
        for component in written.components() {
            let name = match component {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
                Component::ParentDir
                    if self.origin == Origin::Context && found.iter().any(|p| p.as_os_str().is_empty()) =>
                {
                    bail!("forbidden path outside the build context: {source}");
                }
                Component::ParentDir => {
                    for path in &mut found {
                        path.pop();
                    }
                    continue;
                }
                Component::Normal(name) => name,
            };
            found = match name.to_str() {
                Some(text) if is_pattern(text) => self.matching(&found, &Pattern::name(text)?)?,
                _ => found.into_iter().map(|path| path.join(name)).collect(),
            };
        }
        let mut picked = Vec::new();
        for path in found {
            let resolved = self.resolve(&path).with_context(|| path.display().to_string())?;
            let node = match resolved {
                Some(resolved) => self.node(resolved, PathBuf::new())?,
                None => None,
            };
            let Some(node) = node else { continue };
            if exclude.leaves_out(&text(&path)) || (self.hidden(&node.path) && !self.shows_below(&node)) {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_owned();
            picked.push(Picked { name, nodes: self.walk(node, exclude)? });
        }
        if picked.is_empty() {
            let place = match self.origin {
                Origin::Context => "the build context (or .dockerignore leaves it out)",
                Origin::Image => "there",
            };
            bail!("{source}: no such file or directory in {place}");
        }
        Ok(picked)
    }

    /// Opens a regular file for reading.
    pub fn open_file(&self, node: &Node) -> Result<OwnedFd> {
        // What was a regular file may be a FIFO by now; NONBLOCK keeps its open from hanging.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = open_in_root_nofollow(self.root.as_fd(), &node.path, flags)
            .with_context(|| format!("open {}", node.path.display()))?;
        if Identity::new(&fstat(&file)?) != node.identity {
            bail!("{} changed while it was read (build again)", node.path.display());
        }
        Ok(file)
    }

    fn hidden(&self, path: &Path) -> bool {
        !path.as_os_str().is_empty() && self.ignore.leaves_out(&text(path))
    }

    fn shows_below(&self, node: &Node) -> bool {
        node.kind == NodeKind::Directory && self.ignore.may_bring_back_below(&text(&node.path))
    }

    /// The entries of the directories `parents` whose names match.
    fn matching(&self, parents: &[PathBuf], pattern: &Pattern) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for parent in parents {
            let Some(real) = self.resolve(parent)? else { continue };
            if !matches!(self.node(real.clone(), PathBuf::new())?, Some(node) if node.kind == NodeKind::Directory) {
                continue;
            }
            let names = self.names(&real)?.into_iter().filter(|name| pattern.matches(&name.to_string_lossy()));
            found.extend(names.map(|name| parent.join(name)));
        }
        found.sort();
        Ok(found)
    }

    /// The path without links, or `None` if there is nothing.
    fn resolve(&self, path: &Path) -> Result<Option<PathBuf>> {
        let mut rest: Vec<OsString> = reversed(path);
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                if !done.pop() && self.origin == Origin::Context {
                    bail!("forbidden path outside the build context");
                }
                continue;
            }
            let here = done.join(&name);
            let Some(node) = self.node(here, PathBuf::new())? else { return Ok(None) };
            let NodeKind::Link(target) = node.kind else {
                done = node.path;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                bail!("too many symbolic links");
            }
            let target = Path::new(&target);
            if target.is_absolute() {
                if self.origin == Origin::Context {
                    let link = node.path.display();
                    bail!("forbidden path outside the build context: the link {link} leads to {}", target.display());
                }
                done = PathBuf::new();
            }
            rest.extend(reversed(target));
        }
        Ok(Some(done))
    }

    /// What is at `path`, a path without links; `None` for nothing there, and for sockets, which no archive can hold.
    fn node(&self, path: PathBuf, below: PathBuf) -> Result<Option<Node>> {
        let fd = match open_in_root_nofollow(self.root.as_fd(), &path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => fd,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("look at {}", path.display())),
        };
        let stat = fstat(&fd).with_context(|| format!("stat {}", path.display()))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => NodeKind::File,
            FileType::Directory => NodeKind::Directory,
            FileType::Symlink => {
                let target =
                    readlinkat(&fd, "", Vec::new()).with_context(|| format!("read the link {}", path.display()))?;
                NodeKind::Link(OsStr::from_bytes(target.to_bytes()).to_owned())
            }
            FileType::Socket | FileType::Unknown => return Ok(None),
            special => NodeKind::Special(special, stat.st_rdev),
        };
        let (mode, uid, gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        Ok(Some(Node { path, below, kind, mode, uid, gid, identity: Identity::new(&stat) }))
    }

    /// `top` and all below it that is not hidden, parents first, in the order of their names.
    fn walk(&self, top: Node, exclude: &Ignore) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        let mut waiting = vec![top];
        while let Some(node) = waiting.pop() {
            if node.kind == NodeKind::Directory {
                for name in self.names(&node.path)? {
                    let path = node.path.join(&name);
                    if exclude.leaves_out(&text(&path)) {
                        continue;
                    }
                    let Some(child) = self.node(path, node.below.join(&name))? else { continue };
                    if !self.hidden(&child.path) || self.shows_below(&child) {
                        waiting.push(child);
                    }
                }
            }
            nodes.push(node);
        }
        nodes.sort_by(|a, b| a.below.cmp(&b.below));
        self.drop_hidden_directories(&mut nodes);
        Ok(nodes)
    }

    /// A hidden directory was kept for what may be brought back below it. Where that was nothing, it goes.
    fn drop_hidden_directories(&self, nodes: &mut Vec<Node>) {
        let mut wanted: Option<PathBuf> = None;
        let mut kept: Vec<Node> = Vec::new();
        for node in nodes.drain(..).rev() {
            let below = wanted.as_ref().is_some_and(|wanted| wanted.starts_with(&node.below));
            if below || node.below.as_os_str().is_empty() || !self.hidden(&node.path) {
                wanted = Some(node.below.clone());
                kept.push(node);
            }
        }
        nodes.extend(kept.into_iter().rev());
    }

    fn names(&self, directory: &Path) -> Result<Vec<OsString>> {
        let list = || -> std::io::Result<Vec<OsString>> {
            let fd = open_in_root_nofollow(self.root.as_fd(), directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let mut names = Vec::new();
            for entry in Dir::new(fd)? {
                let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
                if name != "." && name != ".." {
                    names.push(name);
                }
            }
            Ok(names)
        };
        list().with_context(|| {
            format!(
                "list the directory {}",
                if directory.as_os_str().is_empty() { Path::new(".") } else { directory }.display()
            )
        })
    }
}

/// The names of a path, the last first; `..` kept.
fn reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.map(|part| part.as_os_str().to_owned()).rev().collect()
}

/// Patterns are text; a name that is none is compared as well as it can be.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(dir: &Path, ignore: &str) -> Tree {
        Tree::open(dir, Origin::Context, Ignore::parse(ignore, ".dockerignore").unwrap()).unwrap()
    }

    fn picked(tree: &Tree, source: &str) -> Result<Vec<String>> {
        let paths = tree.pick(source, &Ignore::default())?.into_iter().flat_map(|picked| picked.nodes);
        Ok(paths.map(|node| text(&node.path)).collect())
    }

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a.txt", "b.txt", "src/main.c", "src/lib/x.c", "secret/key", "secret/public"] {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), path).unwrap();
        }
        dir
    }

    #[test]
    fn names_directories_and_patterns() {
        let dir = sample();
        let tree = tree(dir.path(), "");
        assert_eq!(picked(&tree, "*.txt").unwrap(), ["a.txt", "b.txt"]);
        assert_eq!(picked(&tree, "/src/./").unwrap(), ["src", "src/lib", "src/lib/x.c", "src/main.c"]);
        assert_eq!(picked(&tree, "s*/*.c").unwrap(), ["src/main.c"]);
        assert_eq!(picked(&tree, "src/../a.txt").unwrap(), ["a.txt"]);
        assert!(picked(&tree, "no*").unwrap_err().to_string().contains("no such file"));
    }

    #[test]
    fn ignored_files_are_not_there() {
        let dir = sample();
        symlink("secret/key", dir.path().join("door")).unwrap();
        let tree = tree(dir.path(), "secret\n!secret/public\nsrc/lib\n");
        assert_eq!(picked(&tree, "secret").unwrap(), ["secret", "secret/public"]);
        assert_eq!(picked(&tree, "src").unwrap(), ["src", "src/main.c"]);
        assert!(picked(&tree, "secret/key").is_err());
        assert!(picked(&tree, "door").is_err());
        let all = picked(&tree, ".").unwrap();
        assert!(!all.contains(&"secret/key".to_owned()) && all.contains(&"door".to_owned()));
    }

    #[test]
    fn an_ignored_directory_with_nothing_brought_back_is_not_there_either() {
        let dir = sample();
        let tree = tree(dir.path(), "s*\n!**/nothing\n");
        assert_eq!(picked(&tree, ".").unwrap(), ["", "a.txt", "b.txt"]);
    }

    #[test]
    fn nothing_leads_outside() {
        let dir = sample();
        symlink("/etc/passwd", dir.path().join("absolute")).unwrap();
        symlink("../../etc/passwd", dir.path().join("relative")).unwrap();
        symlink("src", dir.path().join("inside")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        let tree = tree(dir.path(), "");
        for source in ["../x", "a/../../x", "absolute", "relative"] {
            let error = format!("{:#}", picked(&tree, source).unwrap_err());
            assert!(error.contains("forbidden path outside the build context"), "{source}: {error}");
        }
        assert!(picked(&tree, "loop").is_err());
        assert_eq!(picked(&tree, "inside/main.c").unwrap(), ["src/main.c"]);
    }

    #[test]
    fn in_an_image_links_mean_its_own_root() {
        let dir = sample();
        symlink("/../../src", dir.path().join("link")).unwrap();
        let tree = Tree::open(dir.path(), Origin::Image, Ignore::default()).unwrap();
        assert_eq!(picked(&tree, "../link/main.c").unwrap(), ["src/main.c"]);
    }
}
