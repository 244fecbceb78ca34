//! The table of contents: every page is in it, once, and every page that it or an exercise names is there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::pages::{self, Page, normal};

/// A line for each page that is missing or superfluous.
pub fn check(root: &Path, pages: &[Page]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let exists = |path: &Path| pages.iter().any(|page| page.path == path);
    let mut listed: Vec<PathBuf> = Vec::new();
    for summary in pages.iter().filter(|page| page.path.ends_with("SUMMARY.md")) {
        for (index, line) in summary.text.lines().enumerate() {
            let Some((_, target)) = line.split_once("](") else { continue };
            let place = format!("{}:{}", summary.path.display(), index + 1);
            let target = target.split(')').next().unwrap_or_default();
            let path = normal(&summary.directory().join(target));
            if target.is_empty() {
                wrong.push(format!("{place}: a page that nobody has written"));
            } else if !exists(&path) {
                wrong.push(format!("{place}: {} is not there", path.display()));
            } else if listed.contains(&path) {
                wrong.push(format!("{place}: {} stands here twice", path.display()));
            } else {
                listed.push(path);
            }
        }
    }
    for page in pages {
        if !page.path.ends_with("SUMMARY.md") && !listed.contains(&page.path) {
            wrong.push(format!("{}: is not in SUMMARY.md", page.path.display()));
        }
    }
    wrong.extend(exercises(root, exists)?);
    Ok(wrong)
}

/// The pages that tables of exercises send learners to.
fn exercises(root: &Path, exists: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for table in pages::files(root, Path::new("chapters"))?.iter().filter(|path| path.ends_with("exercises.toml")) {
        for (index, line) in fs::read_to_string(root.join(table))?.lines().enumerate() {
            let Some(name) = line.strip_prefix("page = \"").and_then(|rest| rest.split('"').next()) else { continue };
            if !exists(&Path::new("book/src").join(name)) {
                wrong.push(format!("{}:{}: the book has no page {name}", table.display(), index + 1));
            }
        }
    }
    Ok(wrong)
}
