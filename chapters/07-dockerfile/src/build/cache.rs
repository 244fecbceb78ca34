//! The build cache: what a step made the last time, under a key of all that the step depends on.
//!
//! A key covers what the step starts from (the digests of the layers below) and what it does: for COPY the contents of the
//! files, for RUN the command, its environment, user and directory. What does not change the result, a LABEL above or the
//! time of a file, is not in it. A key finds only a name; the layer itself is in the image store, and if it was removed
//! there, the step runs again.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use images::{Descriptor, Store};
use layers::Digest;
use serde::{Deserialize, Serialize};

/// What a step made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// A layer; or nothing, when there was nothing to change.
    pub layer: Option<BuiltLayer>,
    /// When, as image configs write it. Kept, so that an image built from the cache is the same image.
    pub created: String,
}

/// A layer in the image store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuiltLayer {
    /// The digest of its tar, for the config.
    pub diff_id: Digest,
    /// The blob, for the manifest.
    pub blob: Descriptor,
}

/// The directory `ROOT/build-cache`.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    /// `--no-cache`: results are kept but not used.
    write_only: bool,
}

impl Cache {
    /// Opens the cache below `root`, making it if it is not there.
    pub fn open(root: &Path, write_only: bool) -> Result<Cache> {
        let dir = root.join("build-cache");
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Cache { dir, write_only })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the step with this key made, if its layer is still in `store`. A damaged entry is as good as none.
    pub fn get(&self, key: &Digest, store: &Store) -> Option<Made> {
        if self.write_only {
            return None;
        }
        let made: Made = serde_json::from_slice(&fs::read(self.dir.join(key.hex())).ok()?).ok()?;
        let there =
            |layer: &BuiltLayer| store.layers().get(&layer.diff_id).is_some() && store.layout().has(&layer.blob);
        made.layer.as_ref().is_none_or(there).then_some(made)
    }

    /// Remembers what a step made. The entry appears whole or not at all.
    pub fn put(&self, key: &Digest, made: &Made) -> Result<()> {
        let path = self.dir.join(key.hex());
        let temporary = path.with_extension(std::process::id().to_string());
        let write = || {
            File::create(&temporary)?.write_all(&serde_json::to_vec(made)?)?;
            fs::rename(&temporary, &path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}
