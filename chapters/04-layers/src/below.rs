//! What the layers below show at a path: overlayfs's rules of looking up, without mounting anything.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rootfs::{open_in_root_nofollow, open_root};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, OFlags, Stat, fstat, statat};
use rustix::io::Errno;

use crate::entry::Entry;
use crate::notes::Notes;
use crate::remove::names;
use crate::tree::is_whiteout;
use crate::walk::{is_opaque, seen_inside};

/// Layers below an upper directory, the topmost first.
pub(crate) struct Below(Vec<Lower>);

struct Lower {
    root: OwnedFd,
    notes: Notes,
}

/// What is below at a path.
pub(crate) struct Before<'a> {
    /// As it is on disk, its owners the container's.
    pub(crate) stat: Stat,
    /// What the disk could not keep of it.
    pub(crate) note: Option<&'a Entry>,
}

/// What one layer has to say about a path.
enum Layer {
    /// This is there.
    Has(Stat),
    /// Nothing, and nothing of the layers below it either.
    Hides,
    /// Nothing: ask the next.
    Silent,
}

impl Below {
    /// Opens the layers, given the base first.
    pub(crate) fn open(lower: &[PathBuf]) -> Result<Below> {
        let open = |layer: &PathBuf| -> Result<Lower> {
            let root = open_root(layer).with_context(|| format!("open the layer {}", layer.display()))?;
            Ok(Lower { root, notes: Notes::beside(layer)? })
        };
        Ok(Below(lower.iter().rev().map(open).collect::<Result<_>>()?))
    }

    /// What is at `path` (relative to the root, links not followed), if anything.
    pub(crate) fn find(&self, path: &Path) -> Result<Option<Before<'_>>> {
        for Lower { root, notes } in &self.0 {
            match ask(root, path).with_context(|| format!("look for {path:?} in the layers below"))? {
                Layer::Has(mut stat) => {
                    (stat.st_uid, stat.st_gid) = seen_inside(None, &stat);
                    return Ok(Some(Before { stat, note: notes.get(path) }));
                }
                Layer::Hides => return Ok(None),
                Layer::Silent => {}
            }
        }
        Ok(None)
    }

    /// The names in the directory `path`, sorted.
    pub(crate) fn list(&self, path: &Path) -> Result<BTreeSet<OsString>> {
        let (mut shown, mut hidden) = (BTreeSet::new(), BTreeSet::new());
        for Lower { root: layer, .. } in &self.0 {
            match ask(layer, path)? {
                Layer::Has(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => break,
                Layer::Has(_) => {}
                Layer::Hides => break,
                Layer::Silent => continue,
            }
            let dir = open_in_root_nofollow(layer.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            for name in names(dir.as_fd())? {
                let whiteout = is_whiteout(&statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW)?);
                if whiteout {
                    hidden.insert(name);
                } else if !hidden.contains(&name) {
                    shown.insert(name);
                }
            }
            if is_opaque(dir.as_fd(), OsStr::new(".")) {
                break;
            }
        }
        Ok(shown)
    }
}

fn ask(layer: &OwnedFd, path: &Path) -> io::Result<Layer> {
    let look = |path: &Path| match open_in_root_nofollow(layer.as_fd(), path, OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(fd) => Ok(Some((fstat(&fd)?, fd))),
        // ELOOP: a directory of the path is a symbolic link in this layer, which hides what layers below have there.
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(error),
        },
    };
    if let Some((stat, _)) = look(path)? {
        return Ok(if is_whiteout(&stat) { Layer::Hides } else { Layer::Has(stat) });
    }
    // Not here. It is hidden if the nearest thing on the way is no directory, or if a directory on the way is opaque.
    for ancestor in path.ancestors().skip(1) {
        let Some((stat, fd)) = look(ancestor)? else { continue };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || is_opaque(fd.as_fd(), OsStr::new(".")) {
            return Ok(Layer::Hides);
        }
    }
    Ok(Layer::Silent)
}
