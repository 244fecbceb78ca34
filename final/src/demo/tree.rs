//! A tree of files in memory, and the layer that it becomes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tar::{Builder, EntryType, Header};

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory { mode: u32 },
    File { mode: u32, contents: Vec<u8> },
    Link { target: PathBuf },
}

/// Paths without a leading slash, in the order in which they will be written: parents before children.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    /// A directory. Its parents come with it, as 0755.
    pub fn directory(&mut self, path: impl AsRef<Path>, mode: u32) {
        self.insert(path.as_ref(), Node::Directory { mode });
    }

    /// A file.
    pub fn file(&mut self, path: impl AsRef<Path>, mode: u32, contents: &str) {
        self.insert(path.as_ref(), Node::File { mode, contents: contents.into() });
    }

    /// A copy of a file of this machine, at the same path; once.
    pub fn copy_of(&mut self, file: &Path, mode: u32) -> Result<()> {
        if !self.nodes.contains_key(inner(file)) {
            let contents = fs::read(file).with_context(|| format!("read {}", file.display()))?;
            self.insert(file, Node::File { mode, contents });
        }
        Ok(())
    }

    /// A symbolic link, unless something is there already: the target itself, for one.
    pub fn link_to(&mut self, path: &Path, target: &Path) {
        if !self.nodes.contains_key(inner(path)) {
            self.insert(path, Node::Link { target: target.to_path_buf() });
        }
    }

    fn insert(&mut self, path: &Path, node: Node) {
        let path = inner(path);
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            self.nodes.entry(parent.to_path_buf()).or_insert(Node::Directory { mode: 0o755 });
        }
        self.nodes.insert(path.to_path_buf(), node);
    }

    /// Writes the layer: everything root's, nothing of it dated, so that the same tree gives the same bytes.
    pub fn write(&self, to: impl Write) -> Result<()> {
        let mut archive = Builder::new(to);
        for (path, node) in &self.nodes {
            let mut header = Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            let name = || format!("add {}", path.display());
            match node {
                Node::Directory { mode } => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(*mode);
                    archive.append_data(&mut header, path.join(""), std::io::empty()).with_context(name)?;
                }
                Node::File { mode, contents } => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_mode(*mode);
                    header.set_size(contents.len() as u64);
                    archive.append_data(&mut header, path, contents.as_slice()).with_context(name)?;
                }
                Node::Link { target } => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    archive.append_link(&mut header, path, target).with_context(name)?;
                }
            }
        }
        archive.finish().context("finish the layer")
    }
}

/// A path as it is written in a layer.
fn inner(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_written_parents_first_and_always_the_same() {
        let mut tree = Tree::default();
        tree.file("/usr/bin/tool", 0o755, "x");
        tree.link_to(Path::new("/bin/tool"), Path::new("/usr/bin/tool"));
        tree.link_to(Path::new("/usr/bin/tool"), Path::new("/elsewhere"));
        tree.directory("tmp", 0o1777);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        tree.write(&mut first).unwrap();
        tree.write(&mut second).unwrap();
        assert_eq!(first, second);
        let mut archive = tar::Archive::new(first.as_slice());
        let entries: Vec<(String, u32)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap())
            })
            .collect();
        let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["bin/", "bin/tool", "tmp/", "usr/", "usr/bin/", "usr/bin/tool"]);
        assert_eq!(entries[2].1, 0o1777);
    }
}
