//! A place for one build's directories, which is gone afterwards, also after `kill -9`: then the next build tidies up.
//!
//! Before a RUN gets its container, what will have to be undone (an address, a cgroup) is written down there. So whoever
//! tidies up after a killed build can undo it.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use layers::remove_tree;
use namespaces::Record;

/// What must be undone of the container that runs, as JSON.
const RECORDS: &str = "records.json";

/// `ROOT/tmp/build-<pid>`, removed when dropped.
pub struct Workspace {
    dir: PathBuf,
    /// Held shared by every build, so that whoever gets it alone knows that what lies there belongs to nobody.
    _lock: File,
}

impl Workspace {
    /// Makes one below `root`, after removing what killed builds left.
    pub fn new(root: &Path) -> Result<Workspace> {
        let tmp = root.join("tmp");
        fs::create_dir_all(&tmp).with_context(|| format!("make {}", tmp.display()))?;
        let lock = File::create(tmp.join("build.lock")).context("open the lock of the builds")?;
        if lock.try_lock().is_ok() {
            remove_leftovers(&tmp)?;
            lock.unlock().context("unlock the builds")?;
        }
        lock.lock_shared().context("lock the builds")?;
        let dir = tmp.join(format!("build-{}", std::process::id()));
        // Names are reused when process ids are; whose it was is dead.
        let _ = remove_tree(&dir);
        DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Workspace { dir, _lock: lock })
    }

    /// A new directory in it.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        // It may be the upper directory of a step, and then its mode is that of the image's root.
        layers::ensure_directory(&path, 0o755).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// Writes down what must be undone should we be killed. To be called before it comes to be.
    pub fn note_records(&self, records: &[Record]) -> Result<()> {
        let path = self.dir.join(RECORDS);
        fs::write(&path, serde_json::to_vec(records)?).with_context(|| format!("write {}", path.display()))
    }

    /// The path of something that is not there yet.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = remove_tree(&self.dir);
    }
}

fn remove_leftovers(tmp: &Path) -> Result<()> {
    for entry in fs::read_dir(tmp).with_context(|| format!("list {}", tmp.display()))? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b"build-") {
            undo_records(&entry.path().join(RECORDS))?;
            remove_tree(&entry.path()).with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Undoes what a killed build wrote down. Undoing twice does no harm, so it does not matter how far it had come.
fn undo_records(file: &Path) -> Result<()> {
    let Ok(bytes) = fs::read(file) else { return Ok(()) };
    // Half a file was written before anything came to be.
    let records: Vec<Record> = serde_json::from_slice(&bytes).unwrap_or_default();
    for record in records.iter().rev() {
        network::undo(record).with_context(|| format!("undo the {} of a killed build", record.kind))?;
    }
    Ok(())
}
