//! Copies of what the runner is about to overwrite, in `.course/backup/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The learner's own: backups and progress. Not under version control.
pub const STATE: &str = ".course";

/// Keeps a copy of a file under a name that is free; gives the copy's path, relative to the root. `None` if there is no file.
pub fn keep(root: &Path, file: &Path) -> Result<Option<PathBuf>> {
    let original = root.join(file);
    if !original.exists() {
        return Ok(None);
    }
    let directory = Path::new(STATE).join("backup").join(file.parent().unwrap_or(Path::new("")));
    fs::create_dir_all(root.join(&directory)).with_context(|| format!("make {}", directory.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let copy = (1..)
        .map(|number| directory.join(format!("{name}.{number}")))
        .find(|copy| !root.join(copy).exists())
        .context("a free name")?;
    fs::copy(&original, root.join(&copy)).with_context(|| format!("copy {}", file.display()))?;
    Ok(Some(copy))
}
