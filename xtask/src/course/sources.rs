//! The regions of a chapter's sources that are exercises, held against the table.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::anchors::{self, Region};
use super::table::Exercise;
use crate::workspace;

/// All of them.
pub struct Sources {
    /// `chapters/01-namespaces/src`.
    directory: PathBuf,
    regions: Vec<(PathBuf, Region)>,
}

impl Sources {
    /// Reads the files of the chapter in this directory.
    pub fn read(root: &Path, directory: &str) -> Result<Sources> {
        let below = Path::new("chapters").join(directory).join("src");
        let mut regions = Vec::new();
        for file in workspace::files(&root.join(&below))? {
            let text = fs::read_to_string(root.join(&below).join(&file))?;
            let name = below.join(&file);
            let found = anchors::regions(&text).map_err(|error| anyhow::anyhow!("{}:{error}", name.display()))?;
            regions.extend(found.into_iter().filter(Region::is_exercise).map(|region| (file.clone(), region)));
        }
        Ok(Sources { directory: below, regions })
    }

    /// The file, below `src`, that has the region of this name.
    pub fn find(&self, anchor: &str) -> Result<PathBuf> {
        ensure!(anchor.starts_with(anchors::EXERCISE), "the anchor of an exercise begins with ex-: {anchor:?}");
        let places: Vec<_> = self.regions.iter().filter(|(_, region)| region.name == anchor).collect();
        match places[..] {
            [(file, _)] => Ok(file.clone()),
            [] => bail!("there is no `// ANCHOR: {anchor}` in {}", self.directory.display()),
            [(one, _), (other, _), ..] => bail!("{anchor} is in {} and in {}", one.display(), other.display()),
        }
    }

    /// Every region is somebody's: one that no row names would stay closed without a word.
    pub fn all_named(&self, exercises: &[Exercise]) -> Result<()> {
        for (file, region) in &self.regions {
            let named = exercises.iter().any(|exercise| exercise.anchor == region.name);
            let place = self.directory.join(file);
            ensure!(named, "{}:{}: no exercise has the anchor {}", place.display(), region.first + 1, region.name);
        }
        Ok(())
    }
}
