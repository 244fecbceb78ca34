//! `cargo x diff`, `solve`, `reset` and `clean`: beside ours, ours instead, the stub again, nothing left.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::backup::STATE;
use super::learner::{self, Work};
use super::screen::{self, say};
use super::select;
use super::starter::{self, Fill};
use super::table;
use crate::{Outcome, workspace};

/// Which exercise
#[derive(clap::Args)]
pub struct Args {
    /// The exercise, as in 1.2
    exercise: String,
}

/// Compare your code with ours
pub fn diff(args: &Args) -> Outcome {
    let root = workspace::root();
    let chapters = table::chapters(&root)?;
    let (chapter, exercise) = select::exercise(&chapters, &args.exercise)?;
    let work = Work::open(&root, chapter, exercise)?;
    let ours = starter::body(&root, chapter, exercise, Fill::Solution)?;
    let yours = work.body();
    if yours == ours {
        say("The same, to the letter.");
        return Ok(0);
    }
    let solution = Path::new("chapters").join(&chapter.directory).join("src").join(&exercise.file);
    println!("{}", screen::red(&format!("- yours, {}", work.place())));
    println!("{}", screen::green(&format!("+ ours, {}", solution.display())));
    for line in difference(&yours, &ours) {
        match line.split_at(1) {
            ("-", _) => println!("{}", screen::red(&line)),
            ("+", _) => println!("{}", screen::green(&line)),
            _ => println!("{line}"),
        }
    }
    Ok(0)
}

/// Lines of both texts, marked `-`, `+` or with a space: by their longest common subsequence.
fn difference(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(format!("  {}", old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    lines
}

/// Fill in our solution, so that the rest can go on
pub fn solve(args: &Args) -> Outcome {
    let root = workspace::root();
    let chapters = table::chapters(&root)?;
    let (chapter, exercise) = select::exercise(&chapters, &args.exercise)?;
    let work = Work::open(&root, chapter, exercise)?;
    let copy = work.replace(&starter::body(&root, chapter, exercise, Fill::Solution)?)?;
    say(&format!("{}: our solution of {} stands there now.", work.place(), exercise.id));
    say(&format!("The file as it was: {}. See that it passes: cargo x check {}.", copy.display(), exercise.id));
    Ok(0)
}

/// Which exercise, and how much of its file
#[derive(clap::Args)]
pub struct Reset {
    /// The exercise, as in 1.2
    exercise: String,
    /// The whole file, with every exercise in it: when the marker lines are gone
    #[arg(long)]
    file: bool,
}

/// Put the stub back
pub fn reset(args: &Reset) -> Outcome {
    let root = workspace::root();
    let chapters = table::chapters(&root)?;
    let (chapter, exercise) = select::exercise(&chapters, &args.exercise)?;
    let copy = if args.file {
        learner::reset_file(&root, chapter, exercise)?
    } else {
        let work = Work::open(&root, chapter, exercise)?;
        Some(work.replace(&starter::body(&root, chapter, exercise, Fill::Stub)?)?)
    };
    let work = Work::open(&root, chapter, exercise)?;
    say(&format!("{}: the stub of {} is back.", work.place(), exercise.id));
    if let Some(copy) = copy {
        say(&format!("Your version: {}", copy.display()));
    }
    Ok(0)
}

/// What to remove
#[derive(clap::Args)]
pub struct Clean {
    /// The copies of your own files too
    #[arg(long)]
    backups: bool,
}

/// Remove what the course has made, but for your solutions
pub fn clean(args: &Clean) -> Outcome {
    let root = workspace::root();
    let state = root.join(STATE);
    remove_file(&state.join("progress.json"))?;
    for directory in [workspace::cache("book")?, workspace::cache("proofs")?, workspace::cache("suite-skips")?] {
        remove(&directory)?;
    }
    let backup = state.join("backup");
    if args.backups {
        remove(&backup)?;
    } else if backup.exists() {
        say(&format!("{STATE}/backup, with the copies of your files, stays; cargo x clean --backups removes it."));
    }
    let _ = fs::remove_dir(&state); // if nothing is left in it
    Ok(0)
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
        println!("removed {}", directory.display());
    }
    Ok(())
}

fn remove_file(file: &Path) -> Result<()> {
    if file.exists() {
        fs::remove_file(file).with_context(|| format!("remove {}", file.display()))?;
        println!("removed {}", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_compared() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\nd\n"), ["  a", "- b", "+ x", "  c", "+ d"]);
        assert_eq!(difference("", "a\n"), ["+ a"]);
    }
}
