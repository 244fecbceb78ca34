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
    let files = generated(&root)?;
    for (path, text) in &files {
        let place = root.join(path);
        if fs::read_to_string(&place).is_ok_and(|old| old == *text) {
            continue;
        }
        // It may be a learner's work.
        if let Some(copy) = backup::keep(&root, path)? {
            println!("the old {} is in {}", path.display(), copy.display());
        }
        fs::create_dir_all(place.parent().context("a directory")?)?;
        fs::write(&place, text).with_context(|| format!("write {}", place.display()))?;
        println!("wrote {}", path.display());
    }
    for path in surplus(&root, &files)? {
        backup::keep(&root, &path)?;
        fs::remove_file(root.join(&path))?;
        println!("removed {}", path.display());
    }
    Ok(0)
}

/// A file relative to the root, and what is in it.
type File = (PathBuf, String);

/// Every generated file.
pub fn generated(root: &Path) -> Result<Vec<File>> {
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
    let files = generated(root)?;
    let mut lines = Vec::new();
    for (path, text) in &files {
        match fs::read_to_string(root.join(path)) {
            Ok(old) if old == *text => {}
            Ok(old) => lines.push(difference(path, &old, text)),
            Err(_) => lines.push(format!("{}: is missing", path.display())),
        }
    }
    lines.extend(surplus(root, &files)?.iter().map(|path| format!("{}: is in no chapter any more", path.display())));
    Ok(lines)
}

/// The first line that differs.
fn difference(path: &Path, old: &str, new: &str) -> String {
    let line = old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    let show = |text: &str| text.lines().nth(line).map_or("the end".to_owned(), |line| format!("`{}`", line.trim()));
    format!("{}:{}: {} where {} would be written", path.display(), line + 1, show(old), show(new))
}

/// Files of starters that are none of the generated ones.
fn surplus(root: &Path, generated: &[File]) -> Result<Vec<PathBuf>> {
    let directory = Path::new("exercises");
    if !root.join(directory).is_dir() {
        return Ok(Vec::new());
    }
    let present = workspace::files(&root.join(directory))?.into_iter().map(|path| directory.join(path));
    Ok(present.filter(|path| generated.iter().all(|(known, _)| known != path)).collect())
}

/// That these checks can fail: on a copy of the tree, which is then damaged.
#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// What is generated from chapters that nobody has damaged: the same in every copy, and each file costs a run of rustfmt.
    static FRESH: LazyLock<Vec<File>> = LazyLock::new(|| generated(&workspace::root()).unwrap());

    /// What the check reads, in a directory of its own.
    struct Copy(PathBuf);

    impl Copy {
        fn new(name: &str) -> Copy {
            let copy = Copy(std::env::temp_dir().join(format!("starters-{}-{name}", std::process::id())));
            for part in ["chapters", "exercises", "tests/suites", "book/generated"] {
                let from = workspace::root().join(part);
                for file in workspace::files(&from).unwrap() {
                    let to = copy.0.join(part).join(&file);
                    fs::create_dir_all(to.parent().unwrap()).unwrap();
                    fs::copy(from.join(&file), to).unwrap();
                }
            }
            // Whatever a learner has solved here is not what is looked at.
            for (path, text) in &*FRESH {
                fs::write(copy.0.join(path), text).unwrap();
            }
            copy
        }

        fn change(&self, path: &str, change: impl Fn(&str) -> String) {
            let path = self.0.join(path);
            let old = fs::read_to_string(&path).unwrap();
            let new = change(&old);
            assert_ne!(old, new, "nothing was changed in {}", path.display());
            fs::write(path, new).unwrap();
        }
    }

    impl Drop for Copy {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const SOURCE: &str = "chapters/01-namespaces/src/uts.rs";
    const TABLE: &str = "chapters/01-namespaces/exercises.toml";

    #[test]
    fn a_starter_without_its_stub_is_named() {
        let copy = Copy::new("stub");
        assert_eq!(stale(&copy.0).unwrap(), [""; 0]);
        copy.change("exercises/01-namespaces/src/uts.rs", |text| text.replace("todo!(", "drop("));
        let stale = stale(&copy.0).unwrap();
        assert_eq!(stale.len(), 1);
        assert!(
            stale[0].starts_with("exercises/01-namespaces/src/uts.rs:") && stale[0].contains("todo!("),
            "{stale:?}"
        );
    }

    #[test]
    fn a_deleted_anchor_is_named() {
        let copy = Copy::new("anchor");
        copy.change(SOURCE, |text| text.replace("// ANCHOR: ex-hostname\n", "\n"));
        let error = format!("{:#}", stale(&copy.0).unwrap_err());
        assert!(error.starts_with("chapters/01-namespaces/src/uts.rs:") && error.contains("ex-hostname"), "{error}");
        copy.change(SOURCE, |text| text.replace("// ANCHOR_END: ex-hostname\n", "\n"));
        let error = format!("{:#}", stale(&copy.0).unwrap_err());
        assert!(
            error.starts_with("chapters/01-namespaces/exercises.toml:") && error.contains("ex-hostname"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_table_is_told_with_its_line() {
        let cases = [
            ("id = \"1.2\"", "id = \"1.7\"", "the id \"1.7\" stands where \"1.2\" must"),
            ("minutes = 15", "minutes = 0", "minutes are 1 to 180"),
            ("needs = [\"userns\"]", "needs = [\"luck\"]", "unknown need \"luck\""),
            ("title = \"Give", "titel = \"Give", "unknown field `titel`"),
            ("man = [\"waitid(2)\"", "man = [\"waitid\"", "\"waitid\" is no man page"),
            ("\"ex01::the_domain_name_is_set_inside\"", "\"ex01::nothing\"", "there is no test ex01::nothing"),
        ];
        for (number, (from, to, told)) in cases.into_iter().enumerate() {
            let copy = Copy::new(&format!("table-{number}"));
            copy.change(TABLE, |text| text.replacen(from, to, 1));
            let error = format!("{:#}", stale(&copy.0).unwrap_err());
            assert!(error.starts_with(TABLE) && error.contains(told), "{told:?} is not in {error}");
        }
    }
}
