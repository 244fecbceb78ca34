//! The learner's crate: where the hole of an exercise is, and what is in it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::anchors::{self, Region};
use super::backup;
use super::starter::{self, Fill};
use super::table::{Chapter, Exercise};

/// A learner's file, and in it the region of one exercise.
pub struct Work {
    root: PathBuf,
    /// Relative to the root.
    pub file: PathBuf,
    text: String,
    region: Region,
}

impl Work {
    /// Reads the file. An error says how to get the markers back.
    pub fn open(root: &Path, chapter: &Chapter, exercise: &Exercise) -> Result<Work> {
        let file = Path::new("exercises").join(&chapter.directory).join("src").join(&exercise.file);
        let text = fs::read_to_string(root.join(&file))
            .with_context(|| format!("read {} (cargo x starters writes what is missing)", file.display()))?;
        let regions = match anchors::regions(&text) {
            Ok(regions) => regions,
            Err(error) => bail!("{}:{error} ({})", file.display(), way_out(exercise)),
        };
        match regions.into_iter().find(|region| region.name == exercise.anchor) {
            Some(region) => Ok(Work { root: root.to_owned(), file, text, region }),
            None => bail!("{}: the lines with {} are gone ({})", file.display(), exercise.anchor, way_out(exercise)),
        }
    }

    /// `FILE:LINE` of the first line of the hole.
    pub fn place(&self) -> String {
        // After the marker stands a comment, as long as the learner leaves it there.
        let lines: Vec<&str> = self.text.lines().collect();
        let first = self.region.first + 1;
        let comments = lines[first..self.region.last].iter().take_while(|l| l.trim_start().starts_with("//")).count();
        format!("{}:{}", self.file.display(), first + comments + 1)
    }

    /// What stands between the markers.
    pub fn body(&self) -> String {
        self.region.body(&self.text)
    }

    /// Whether it is the stub still.
    pub fn is_stub(&self, exercise: &Exercise) -> bool {
        self.body().contains(&format!("todo!(\"exercise {}:", exercise.id))
    }

    /// Puts something else between the markers, after a copy of the file; gives the copy's path.
    pub fn replace(&self, body: &str) -> Result<PathBuf> {
        let copy = backup::keep(&self.root, &self.file)?.context("a copy of the file")?;
        let lines: Vec<&str> = self.text.lines().collect();
        let mut text: String = lines[..=self.region.first].iter().flat_map(|line| [*line, "\n"]).collect();
        text.push_str(body);
        text.extend(lines[self.region.last..].iter().flat_map(|line| [*line, "\n"]));
        fs::write(self.root.join(&self.file), text).with_context(|| format!("write {}", self.file.display()))?;
        Ok(copy)
    }

    /// A number that changes with the body.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.body().hash(&mut hasher);
        hasher.finish()
    }
}

fn way_out(exercise: &Exercise) -> String {
    format!("cargo x reset {} --file puts the whole file back", exercise.id)
}

/// Puts a whole file back as the starter has it, after a copy; gives the copy's path.
pub fn reset_file(root: &Path, chapter: &Chapter, exercise: &Exercise) -> Result<Option<PathBuf>> {
    let inside = Path::new("src").join(&exercise.file);
    let file = Path::new("exercises").join(&chapter.directory).join(&inside);
    let starter = starter::generate(root, chapter, Fill::Stub)?;
    let (_, text) = starter.into_iter().find(|(path, _)| *path == inside).context("the starter has no such file")?;
    let copy = backup::keep(root, &file)?;
    fs::write(root.join(&file), text).with_context(|| format!("write {}", file.display()))?;
    Ok(copy)
}
