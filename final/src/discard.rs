//! What is thrown away: taken out of its list in one step, deleted in its own time.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use namespaces::{Gate, Isolation, Process, UserNamespace, rootless};
use rustix::fs::{FlockOperation, flock};

use crate::id;
use crate::root::Root;

/// What the directory of something discarded is called, before an id of its own.
pub const DISCARDED: &str = "removed-";

/// The files of containers and volumes that are in no list any more.
#[derive(Debug, Default)]
#[must_use = "its files are still there"]
pub struct Discarded(Vec<(PathBuf, Option<Held>)>);

/// A directory that is being deleted: others see by the lock, which ends with us, that they need not do it.
type Held = File;

impl Discarded {
    /// Takes a directory of the state directory out of it in one step.
    pub fn take(root: &Root, directory: &Path) -> io::Result<Discarded> {
        let id = id::new_id().map_err(io::Error::other)?;
        let away = root.tmp().join(format!("{DISCARDED}{id}"));
        let held = hold(directory);
        fs::rename(directory, &away).map(|()| Discarded(vec![(away, held)]))
    }

    /// And these.
    pub fn add(&mut self, others: Vec<Discarded>) {
        self.0.extend(others.into_iter().flat_map(|other| other.0));
    }

    /// Deletes them.
    pub fn delete(self) -> Result<()> {
        let mut result = Ok(());
        for (path, _held) in self.0 {
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

/// Deletes what killed removals have left. Those under way are left alone.
pub fn empty_bin(root: &Root) -> Result<()> {
    let directory = root.tmp();
    let entries = fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
    let mut result = Ok(());
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(DISCARDED)
            && let Some(held) = hold(&entry.path())
        {
            result = result.and(Discarded(vec![(entry.path(), Some(held))]).delete());
        }
    }
    result
}

/// Locks a directory that is to be deleted (`flock(2)`, which stays with it wherever it is moved). `None` if somebody else
/// has.
fn hold(directory: &Path) -> Option<Held> {
    let held = File::open(directory).ok()?;
    flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(held)
}
