//! What a container changed: `docker diff`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::{FileType, Stat};

use crate::below::Below;
use crate::walk::walk;

/// How a path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It was there, and is different; or, for a directory, something in it is.
    Changed,
    /// It is gone, with all that was in it.
    Deleted,
}

/// A path that changed. Displayed as `docker diff` prints it: `C /etc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Its path in the container, absolute.
    pub path: PathBuf,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        };
        write!(f, "{letter} {}", self.path.display())
    }
}

/// Compares the writable directory of an overlay with the layers below it (the base first), sorted by path.
///
/// The upper directory alone knows what was touched, but not what was there before: a file in it may be new or changed, and
/// of a file that was copied up and then left as it was nobody wants to hear.
pub fn diff(upper: &Path, lower: &[PathBuf]) -> Result<Vec<Change>> {
    let below = Below::open(lower)?;
    let mut changes = BTreeMap::new();
    walk(upper, &mut |found| {
        let before = below.find(found.path)?;
        let kind = match &before {
            None if found.is_whiteout() => None,
            Some(_) if found.is_whiteout() => Some(ChangeKind::Deleted),
            None => Some(ChangeKind::Added),
            Some(before) => is_different(&before.stat, &found.stat).then_some(ChangeKind::Changed),
        };
        match kind {
            Some(kind) => changes.insert(found.path.to_owned(), kind),
            None => changes.remove(found.path),
        };
        // A directory that was removed and made again hides what it held. What is in it again has its turn later on the
        // walk, which then knows better.
        if before.is_some() && found.is_opaque() {
            for name in below.list(found.path)? {
                changes.insert(found.path.join(name), ChangeKind::Deleted);
            }
        }
        Ok(())
    })?;
    let ancestors = |path: &Path| path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
    let directories: Vec<PathBuf> = changes.keys().flat_map(|path| ancestors(path)).collect();
    for directory in directories.into_iter().filter(|directory| !directory.as_os_str().is_empty()) {
        changes.entry(directory).or_insert(ChangeKind::Changed);
    }
    Ok(changes.into_iter().map(|(path, kind)| Change { kind, path: Path::new("/").join(path) }).collect())
}

/// What `docker diff` compares: type, mode, owner, device, and for all but directories size and time.
fn is_different(before: &Stat, now: &Stat) -> bool {
    let kind = FileType::from_raw_mode(now.st_mode);
    let metadata = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let content = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    metadata(before) != metadata(now) || kind != FileType::Directory && content(before) != content(now)
}
