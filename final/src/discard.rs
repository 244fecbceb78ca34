//! What is thrown away: taken out of its list in one step, deleted in its own time.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use namespaces::{Gate, Isolation, Process, UserNamespace, rootless};

use crate::id;
use crate::root::Root;

/// What the directory of something discarded is called, before an id of its own.
pub const DISCARDED: &str = "removed-";

/// The files of containers and volumes that are in no list any more.
#[derive(Debug, Default)]
#[must_use = "its files are still there"]
pub struct Discarded(Vec<PathBuf>);

impl Discarded {
    /// Takes a directory of the state directory out of it in one step.
    pub fn take(root: &Root, directory: &Path) -> io::Result<Discarded> {
        let id = id::new_id().map_err(io::Error::other)?;
        let away = root.tmp().join(format!("{DISCARDED}{id}"));
        fs::rename(directory, &away).map(|()| Discarded(vec![away]))
    }

    /// And these.
    pub fn add(&mut self, others: Vec<Discarded>) {
        self.0.extend(others.into_iter().flat_map(|other| other.0));
    }

    /// Deletes them.
    pub fn delete(self) -> Result<()> {
        let mut result = Ok(());
        for path in self.0 {
            result = result.and(delete_tree(&path).with_context(|| format!("delete {}", path.display())));
        }
        result
    }
}

/// Deletes a tree, also what in it belongs to one of the ids that an ordinary user's containers have beside the user's own:
/// those are the user's to delete only as root of a user namespace.
pub fn delete_tree(path: &Path) -> Result<()> {
    match layers::remove_tree(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied && rootless() => {}
        done => return Ok(done?),
    }
    let isolations: Vec<Box<dyn Isolation>> =
        vec![Box::new(UserNamespace::for_caller()), Box::new(Delete(path.to_path_buf()))];
    // It is done when the child is ready; there is nothing that it should execute.
    namespaces::Container::new(Process::new(Vec::new()), isolations, namespaces::undo).create().map(drop)
}

/// Deletes a tree as whoever the child is.
struct Delete(PathBuf);

impl Isolation for Delete {
    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        Ok(layers::remove_tree(&self.0)?)
    }
}

/// Deletes what killed removals have left. Those under way are left alone: they are younger than a minute.
pub fn empty_bin(root: &Root) -> Result<()> {
    let directory = root.tmp();
    let entries = fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
    for entry in entries.flatten() {
        let minute = Duration::from_secs(60);
        let old = |metadata: Metadata| {
            let changed = UNIX_EPOCH + Duration::from_secs(metadata.ctime().max(0) as u64);
            changed.elapsed().is_ok_and(|age| age > minute)
        };
        if entry.file_name().to_string_lossy().starts_with(DISCARDED) && entry.metadata().is_ok_and(old) {
            Discarded(vec![entry.path()]).delete()?;
        }
    }
    Ok(())
}
