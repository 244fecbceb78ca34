//! `cargo x check` and `cargo x watch`: the tests of exercises against the learner's crate.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::learner::Work;
use super::progress::Progress;
use super::report::{Report, block, heading};
use super::sandbox::Sandbox;
use super::screen::{self, say};
use super::select::{Selection, select};
use super::table::{self, Chapter, Exercise};
use super::trial::{self, End, Trial};
use super::{files, needs};
use crate::{Outcome, workspace};

/// Run the tests of an exercise, or of a chapter's exercises up to the first that fails
#[derive(clap::Args)]
pub struct Args {
    /// 1.2 for an exercise, 01 for a chapter; nothing for the chapter that was started last
    exercise: Option<String>,
}

/// Said by a sandbox in which the process is dead that was to survive whatever is tried there (`tests/src/bin/virtual-host`).
const CANARY: &str = "the canary is dead";

/// How an exercise ended.
enum Verdict {
    Done,
    Skipped(String),
    Failed(Report),
    Broken(String),
}

/// `cargo x check`.
pub fn run(args: &Args) -> Outcome {
    let root = workspace::root();
    let chapters = table::chapters(&root)?;
    // The id is looked at first: a wrong one needs no build.
    let selection = select(&chapters, &Progress::load(&root), args.exercise.as_deref())?;
    let sandbox = sandbox(&root)?;
    let trial = Trial::new(&sandbox)?;
    match selection {
        Selection::One(chapter, exercise) => {
            trial::build(&chapter.starter_package())?;
            let done = check(&root, &trial, chapter, exercise)?;
            if done {
                say(&format!("Compare with ours: cargo x diff {}.{}", exercise.id, next(&root, chapter, exercise)));
            }
            Ok(u8::from(!done))
        }
        Selection::Chapter(chapter) => {
            trial::build(&chapter.starter_package())?;
            Ok(u8::from(!check_all(&root, &trial, chapter)?))
        }
    }
}

/// Builds what makes sandboxes, opens one, and shows what it is made of.
fn sandbox(root: &Path) -> Result<Sandbox> {
    trial::build_harness(root)?;
    let sandbox = Sandbox::open()?;
    println!("{}", screen::grey(&screen::wrap("Sandbox: ", 9, &sandbox.made_of, screen::width())));
    Ok(sandbox)
}

/// One after the other, up to the first that fails.
fn check_all(root: &Path, trial: &Trial<'_>, chapter: &Chapter) -> Result<bool> {
    for (index, exercise) in chapter.exercises.iter().enumerate() {
        if !check(root, trial, chapter, exercise)? {
            let rest = chapter.exercises.len() - index - 1;
            if rest > 0 {
                say(&format!("{rest} more not looked at yet: cargo x list, or cargo x check ID."));
            }
            return Ok(false);
        }
    }
    say(&format!("All of chapter {} is done.", chapter.number));
    Ok(true)
}

/// Tests one exercise and says how it went; whether one can go on.
fn check(root: &Path, trial: &Trial<'_>, chapter: &Chapter, exercise: &Exercise) -> Result<bool> {
    let work = Work::open(root, chapter, exercise)?;
    let width = screen::width();
    match judge(trial, chapter, exercise)? {
        Verdict::Done => {
            println!("{}", heading(&screen::green("✓"), exercise, "", width));
            let mut progress = Progress::load(root);
            progress.passed.insert(exercise.id.clone(), work.fingerprint());
            progress.save(root)?;
        }
        Verdict::Skipped(why) => {
            println!("{}", heading("–", exercise, "", width));
            println!("{}", screen::wrap("  skipped   ", 12, &why, width));
        }
        Verdict::Failed(report) => {
            println!("{}", block(chapter, exercise, &work.place(), &report, width));
            return Ok(false);
        }
        Verdict::Broken(why) => {
            println!("{}", heading(&screen::red("✗"), exercise, &work.place(), width));
            println!("{}", screen::wrap("  broken    ", 12, &why, width));
            say(match why.contains(CANARY) {
                true => "Your code reached out of its container: a process of the sandbox that must survive is dead.",
                false => "The test itself could not do its work: cargo x doctor may know why.",
            });
            return Ok(false);
        }
    }
    Ok(true)
}

fn judge(trial: &Trial<'_>, chapter: &Chapter, exercise: &Exercise) -> Result<Verdict> {
    if let Some(why) = needs::missing(&exercise.needs) {
        return Ok(Verdict::Skipped(why));
    }
    let tests: Vec<&str> = exercise.tests.iter().map(String::as_str).collect();
    let mut ends = trial.run(chapter, &chapter.program(), "", &tests)?;
    let mut skipped = None;
    // In the order of the table: the first failure is the one to begin with.
    for test in tests {
        match ends.remove(test).context("the end of a test")? {
            End::Passed => {}
            End::Failed(report) => return Ok(Verdict::Failed(report)),
            End::Broken(why) => return Ok(Verdict::Broken(why)),
            End::Skipped(why) => skipped = Some(why),
        }
    }
    Ok(skipped.map_or(Verdict::Done, Verdict::Skipped))
}

/// What may come next, in words.
fn next(root: &Path, chapter: &Chapter, exercise: &Exercise) -> String {
    let progress = Progress::load(root);
    let open = chapter.exercises.iter().filter(|other| other.id != exercise.id);
    match open.into_iter().find(|other| !progress.passed.contains_key(&other.id)) {
        Some(other) => format!(" Next: {} {} (cargo x check {}).", other.id, other.title, other.id),
        None => format!(" All of chapter {} is done.", chapter.number),
    }
}

/// `cargo x watch`: checks whenever a file changes, and shows the first failure. It never moves on by itself.
pub fn watch(args: &Args) -> Outcome {
    let root = workspace::root();
    let chapters = table::chapters(&root)?;
    let selection = select(&chapters, &Progress::load(&root), args.exercise.as_deref())?;
    let sandbox = sandbox(&root)?;
    let trial = Trial::new(&sandbox)?;
    let chapter = match selection {
        Selection::One(chapter, _) | Selection::Chapter(chapter) => chapter,
    };
    let directory = root.join("exercises").join(&chapter.directory).join("src");
    let mut seen = None;
    loop {
        let now = newest(&directory)?;
        if seen == Some(now) {
            // Modification times: folders shared with a host send no events.
            sleep(Duration::from_millis(500));
            continue;
        }
        seen = Some(now);
        println!();
        let done = trial::build(&chapter.starter_package()).and_then(|()| match selection {
            Selection::One(chapter, exercise) => check(&root, &trial, chapter, exercise),
            Selection::Chapter(chapter) => check_all(&root, &trial, chapter),
        });
        if let Err(error) = done {
            println!("{error:#}");
        }
        println!("{}", screen::grey("Watching; Ctrl-C ends it."));
    }
}

/// The latest change below a directory, and how many files there are.
fn newest(directory: &Path) -> Result<(usize, SystemTime)> {
    let files = files(directory)?;
    let times = files.iter().filter_map(|file| directory.join(file).metadata().ok()?.modified().ok());
    Ok((files.len(), times.max().unwrap_or(SystemTime::UNIX_EPOCH)))
}
