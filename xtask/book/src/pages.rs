//! The pages of the book as they are written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A Markdown file below `book/src`.
pub struct Page {
    /// Relative to the root of the workspace.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

impl Page {
    /// `book/src/map.md:12` for an offset into the text.
    pub fn at(&self, offset: usize) -> String {
        format!("{}:{}", self.path.display(), self.text[..offset].matches('\n').count() + 1)
    }

    /// The directory that its links and includes are relative to.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// All pages, sorted.
pub fn read(root: &Path) -> Result<Vec<Page>> {
    let source = Path::new("book/src");
    let mut pages = Vec::new();
    for path in files(root, source)? {
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(root.join(&path)).with_context(|| format!("read {}", path.display()))?;
            pages.push(Page { path, text });
        }
    }
    Ok(pages)
}

/// All files below a directory, relative to the root, sorted; none if there is no such directory.
pub fn files(root: &Path, directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(root.join(&directory)) else { continue };
        for entry in entries {
            let entry = entry.with_context(|| format!("list {}", directory.display()))?;
            let path = directory.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => waiting.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A path without `.` and `..`, as far as its names tell.
pub fn normal(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some_and(|name| name != "..") => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}
