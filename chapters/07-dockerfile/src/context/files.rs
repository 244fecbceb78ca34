//! Digests of the context's files, remembered from build to build.
//!
//! Hashing costs about a millisecond per megabyte and a cached build should cost a few in all. So the digest of a file is
//! kept under what `stat(2)` says of it, as git's index does. A file changed within the last moments is not remembered: a
//! second change in the same tick of the clock would leave no trace (git calls it the racy index).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use layers::{Digest, Hashing};

use super::node::{Identity, Node, NodeKind, Picked};
use super::tree::Tree;
use crate::fingerprint::Fingerprint;

/// Seconds during which a change is too fresh to be trusted.
const FRESH: i64 = 2;

/// The remembered digests of one context's files.
#[derive(Debug, Default)]
pub struct FileDigests {
    path: PathBuf,
    known: HashMap<Identity, Digest>,
    /// Those that this build asked for: the others belong to files that are gone, and are forgotten.
    used: HashMap<Identity, Digest>,
}

impl FileDigests {
    /// Reads what earlier builds of the context at `context` kept in `dir`.
    pub fn load(dir: &Path, context: &Path) -> FileDigests {
        let name = Digest::of(context.as_os_str().as_encoded_bytes());
        let path = dir.join(format!("files-{}", &name.hex()[..16]));
        // A file that is missing or damaged costs time, nothing else.
        let text = fs::read_to_string(&path).unwrap_or_default();
        FileDigests { path, known: text.lines().filter_map(from_line).collect(), used: HashMap::new() }
    }

    /// Writes the digests down, if there is anything new among them.
    pub fn save(&self) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
        let settled = |identity: &Identity| identity.ctime.0 < now - FRESH;
        let mut text = String::new();
        for (identity, digest) in self.used.iter().filter(|(identity, _)| settled(identity)) {
            let Identity { inode, size, mtime, ctime } = identity;
            let (hex, [a, b]) = (digest.hex(), [mtime, ctime]);
            let _ = writeln!(text, "{} {} {size} {} {} {} {} {hex}", inode.0, inode.1, a.0, a.1, b.0, b.1);
        }
        if self.used.keys().all(|identity| self.known.contains_key(identity) || !settled(identity)) {
            return Ok(());
        }
        let temporary = self.path.with_extension(std::process::id().to_string());
        let write = || File::create(&temporary)?.write_all(text.as_bytes());
        write()
            .and_then(|()| fs::rename(&temporary, &self.path))
            .with_context(|| format!("write {}", self.path.display()))
    }

    /// The digest of all that `picked` would copy: names, kinds, permissions and contents, but not times; owners only
    /// where the copy would keep them.
    pub fn of(&mut self, tree: &Tree, picked: &[Picked]) -> Result<Digest> {
        let mut print = Fingerprint::new("files");
        for source in picked {
            print = print.field(source.name.as_encoded_bytes()).field((source.nodes.len() as u64).to_le_bytes());
            for node in &source.nodes {
                print = print.field(node.below.as_os_str().as_encoded_bytes()).field(node.mode.to_le_bytes());
                print = match &node.kind {
                    NodeKind::File => print.field(self.file(tree, node)?.as_str()),
                    NodeKind::Directory => print.field("directory"),
                    NodeKind::Link(target) => print.field("link").field(target.as_encoded_bytes()),
                    NodeKind::Special(kind, device) => print.field(format!("{kind:?}")).field(device.to_le_bytes()),
                };
            }
        }
        Ok(print.finish())
    }

    fn file(&mut self, tree: &Tree, node: &Node) -> Result<Digest> {
        let digest = match self.known.get(&node.identity) {
            Some(digest) => digest.clone(),
            None => {
                let mut file = File::from(tree.open_file(node)?);
                let mut hash = Hashing::new(io::sink());
                io::copy(&mut file, &mut hash).with_context(|| format!("read {}", node.path.display()))?;
                hash.finish().0
            }
        };
        self.used.insert(node.identity, digest.clone());
        Ok(digest)
    }
}

fn from_line(line: &str) -> Option<(Identity, Digest)> {
    fn next<'a, T: std::str::FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<T> {
        words.next()?.parse().ok()
    }
    let words = &mut line.split(' ');
    let inode = (next(words)?, next(words)?);
    let size = next(words)?;
    let mtime = (next(words)?, next(words)?);
    let ctime = (next(words)?, next(words)?);
    let digest = format!("sha256:{}", words.next()?).parse().ok()?;
    Some((Identity { inode, size, mtime, ctime }, digest))
}

#[cfg(test)]
mod tests {
    use super::super::ignore::Ignore;
    use super::super::tree::Origin;
    use super::*;

    fn digest(dir: &Path, digests: &mut FileDigests) -> Digest {
        let tree = Tree::open(dir, Origin::Context, Ignore::default()).unwrap();
        digests.of(&tree, &tree.pick(".", &Ignore::default()).unwrap()).unwrap()
    }

    #[test]
    fn content_and_mode_count_and_times_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let mut digests = FileDigests::default();
        fs::write(&file, "one").unwrap();
        let first = digest(dir.path(), &mut digests);
        File::open(&file).unwrap().set_modified(UNIX_EPOCH).unwrap();
        assert_eq!(digest(dir.path(), &mut digests), first);
        fs::write(&file, "two").unwrap();
        assert_ne!(digest(dir.path(), &mut digests), first);
    }

    #[test]
    fn what_is_written_down_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut digests = FileDigests::load(dir.path(), Path::new("/x"));
        let identity = Identity { inode: (1, u64::MAX), size: 3, mtime: (-4, 5), ctime: (6, 7) };
        digests.used.insert(identity, Digest::of("x"));
        digests.save().unwrap();
        assert_eq!(FileDigests::load(dir.path(), Path::new("/x")).known[&identity], Digest::of("x"));
        fs::write(&digests.path, "junk\n1 2 3\n").unwrap();
        assert!(FileDigests::load(dir.path(), Path::new("/x")).known.is_empty());
    }
}
