//! What a learner has done so far, in `.course/progress.json`. Lost without harm: the next check finds out again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::backup::STATE;

/// As it is on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The chapter that was started last.
    #[serde(default)]
    pub chapter: Option<u8>,
    /// The fingerprint of each exercise's body when its tests passed.
    #[serde(default)]
    pub passed: BTreeMap<String, u64>,
    /// How many hints were read.
    #[serde(default)]
    pub hints: BTreeMap<String, usize>,
}

fn path(root: &Path) -> PathBuf {
    root.join(STATE).join("progress.json")
}

impl Progress {
    /// What is on disk; nothing yet, if it cannot be read.
    pub fn load(root: &Path) -> Progress {
        fs::read(path(root)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Writes it.
    pub fn save(&self, root: &Path) -> Result<()> {
        let path = path(root);
        fs::create_dir_all(root.join(STATE)).with_context(|| format!("make {STATE}"))?;
        fs::write(&path, serde_json::to_vec_pretty(self)?).with_context(|| format!("write {}", path.display()))
    }
}
