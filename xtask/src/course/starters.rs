//! `cargo x starters`: writes what is made from the tables, or checks that it is fresh.
//!
//! That is `exercises/NN-x/`, and for the book a table of each chapter's exercises and the schedules.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::starter::{self, Fill};
use super::{backup, schedule, table};
use crate::{Outcome, workspace};

/// Write the starters in exercises/ and the tables of the book
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing; fail when something is not as it would be written
    #[arg(long)]
    check: bool,
}

/// `cargo x starters`.
pub fn run(args: &Args) -> Outcome {
    let root = workspace::root();
    if args.check {
        let stale = stale(&root)?;
        for line in &stale {
            println!("{line}");
        }
        if !stale.is_empty() {
            println!(
                "Write them anew with: cargo x starters (a solved exercise goes back to its stub with cargo x reset)"
            );
        }
        return Ok(u8::from(!stale.is_empty()));
    }
    for (path, text) in generated(&root)? {
        let place = root.join(&path);
        if fs::read_to_string(&place).is_ok_and(|old| old == text) {
            continue;
        }
        // It may be a learner's work.
        if let Some(copy) = backup::keep(&root, &path)? {
            println!("the old {} is in {}", path.display(), copy.display());
        }
        fs::create_dir_all(place.parent().context("a directory")?)?;
        fs::write(&place, text).with_context(|| format!("write {}", place.display()))?;
        println!("wrote {}", path.display());
    }
    for path in surplus(&root)? {
        backup::keep(&root, &path)?;
        fs::remove_file(root.join(&path))?;
        println!("removed {}", path.display());
    }
    Ok(0)
}

/// Every generated file, relative to the root.
pub fn generated(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let chapters = table::chapters(root)?;
    let mut files = Vec::new();
    for chapter in &chapters {
        let directory = Path::new("exercises").join(&chapter.directory);
        let starter = starter::generate(root, chapter, Fill::Stub)?;
        files.extend(starter.into_iter().map(|(path, text)| (directory.join(path), text)));
        let page = PathBuf::from(format!("book/generated/exercises-{:02}.md", chapter.number));
        files.push((page, schedule::exercises_page(chapter)));
    }
    files.push((PathBuf::from("book/generated/schedule.md"), schedule::page(&chapters)));
    Ok(files)
}

/// One line for each file that is not as it would be written.
pub fn stale(root: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (path, text) in generated(root)? {
        match fs::read_to_string(root.join(&path)) {
            Ok(old) if old == text => {}
            Ok(old) => lines.push(difference(&path, &old, &text)),
            Err(_) => lines.push(format!("{}: is missing", path.display())),
        }
    }
    lines.extend(surplus(root)?.iter().map(|path| format!("{}: is in no chapter any more", path.display())));
    Ok(lines)
}

/// The first line that differs.
fn difference(path: &Path, old: &str, new: &str) -> String {
    let line = old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    let show = |text: &str| text.lines().nth(line).map_or("the end".to_owned(), |line| format!("`{}`", line.trim()));
    format!("{}:{}: {} where {} would be written", path.display(), line + 1, show(old), show(new))
}

/// Files of starters that nothing generates.
fn surplus(root: &Path) -> Result<Vec<PathBuf>> {
    let known: Vec<PathBuf> = generated(root)?.into_iter().map(|(path, _)| path).collect();
    let directory = Path::new("exercises");
    if !root.join(directory).is_dir() {
        return Ok(Vec::new());
    }
    let present = super::files(&root.join(directory))?.into_iter().map(|path| directory.join(path));
    Ok(present.filter(|path| !known.contains(path)).collect())
}
