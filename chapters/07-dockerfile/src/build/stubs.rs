//! Taking mount points out of a layer again.
//!
//! To mount `/proc` or a file over `/etc/resolv.conf` there must be something to mount on, and where the image has nothing,
//! the container's set-up makes an empty file or directory. It is not what RUN did, so it does not belong into the layer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use layers::{ChangeKind, diff};
use rootfs::{open_root, parent_in_root};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, statat, unlinkat};

/// Removes from `upper` the empty things at `mountpoints` that the layers below do not have.
pub fn remove(upper: &Path, lower: &[PathBuf], mountpoints: &[PathBuf]) -> Result<()> {
    // With the directories to them, the deepest first.
    let mut places: Vec<&Path> =
        mountpoints.iter().flat_map(|path| path.ancestors()).filter(|path| *path != Path::new("/")).collect();
    places.sort_unstable_by_key(|path| std::cmp::Reverse((path.components().count(), *path)));
    places.dedup();
    let changes = diff(upper, lower)?;
    let added: BTreeSet<&Path> =
        changes.iter().filter(|change| change.kind == ChangeKind::Added).map(|change| change.path.as_path()).collect();
    for place in places.iter().filter(|place| added.contains(**place)) {
        remove_empty(upper, place)?;
    }
    // A directory that was copied up for a stub alone is as it was, and holds nothing: only its copy says it changed.
    let changed: BTreeSet<PathBuf> = diff(upper, lower)?.into_iter().map(|change| change.path).collect();
    for place in places.iter().filter(|place| !changed.contains(**place)) {
        remove_empty(upper, place)?;
    }
    Ok(())
}

/// Removes an empty file or directory; what is not empty is somebody's work.
fn remove_empty(upper: &Path, place: &Path) -> Result<()> {
    let root = open_root(upper).with_context(|| format!("open {}", upper.display()))?;
    let Ok((parent, name)) = parent_in_root(root.as_fd(), place) else { return Ok(()) };
    let Ok(stat) = statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
    let flags = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        FileType::RegularFile if stat.st_size == 0 => AtFlags::empty(),
        _ => return Ok(()),
    };
    match unlinkat(&parent, &name, flags) {
        Ok(()) | Err(rustix::io::Errno::NOTEMPTY) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("remove the mount point {}", place.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn stubs_go_and_work_stays() {
        let (upper, lower) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for path in ["etc", "sys"] {
            fs::create_dir(lower.path().join(path)).unwrap();
        }
        for path in ["proc", "etc", "dev/shm", "srv"] {
            fs::create_dir_all(upper.path().join(path)).unwrap();
        }
        fs::write(upper.path().join("etc/hosts"), "").unwrap();
        fs::write(upper.path().join("srv/page"), "x").unwrap();
        let mountpoints = ["/proc", "/dev", "/dev/shm", "/etc/hosts", "/srv", "/sys"].map(PathBuf::from);
        remove(upper.path(), &[lower.path().to_owned()], &mountpoints).unwrap();
        let mut left: Vec<_> = fs::read_dir(upper.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["srv"]);
    }
}
