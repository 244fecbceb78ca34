//! `cargo x start`, `hint` and `list`: what to do, how, and what is left.

use anyhow::Result;

use super::learner::Work;
use super::needs;
use super::progress::Progress;
use super::screen::{self, say, wrap};
use super::select;
use super::table::{self, Chapter, Exercise};
use crate::{Outcome, workspace};

/// Begin a chapter: its page, the files to edit, what the first red looks like
#[derive(clap::Args)]
pub struct Start {
    /// The chapter, as in 03; the one that was started last, or the first
    chapter: Option<String>,
}

/// `cargo x start`.
pub fn start(args: &Start) -> Outcome {
    let root = workspace::root();
    let chapters = table::chapters(&root)?;
    let mut progress = Progress::load(&root);
    let chapter = match &args.chapter {
        Some(wish) => select::chapter(&chapters, wish)?,
        None => select::current(&chapters, &progress)?,
    };
    progress.chapter = Some(chapter.number);
    progress.save(&root)?;
    println!("Chapter {}. {}\n", chapter.number, chapter.title);
    let page = root.join("book/src").join(&chapter.page);
    match page.exists() {
        true => say(&format!("Read: book/src/{}, or all in a browser: cargo x book --serve", chapter.page)),
        false => say(&format!("(The book has no page {} yet: the code is its page.)", chapter.page)),
    }
    say(
        "Edit: the parts between `ANCHOR: ex-…` and `ANCHOR_END: ex-…`, where a todo!() stands. Leave these two lines.",
    );
    println!();
    let width = screen::width();
    for exercise in &chapter.exercises {
        let place = match Work::open(&root, chapter, exercise) {
            Ok(work) => work.place(),
            Err(error) => format!("{error:#}"),
        };
        println!("{}", super::report::heading(" ", exercise, &place, width));
    }
    let first =
        chapter.exercises.iter().find(|exercise| progress_of(&progress, &root, chapter, exercise) != State::Done);
    let Some(first) = first else {
        say("All of it is done. cargo x list shows the other chapters.");
        return Ok(0);
    };
    let id = &first.id;
    println!();
    say(&format!(
        "Begin with {id}: cargo x check {id}. The first time it is red, and has to be: it says that the hole is still open, \
         what is expected of the code that goes there, and how to go on. cargo x watch {id} does so whenever you save. Stuck? \
         cargo x hint {id}. Want to see ours, or go on without it? cargo x diff {id}, cargo x solve {id}."
    ));
    Ok(0)
}

/// Show the hints of an exercise, one after the other
#[derive(clap::Args)]
pub struct Hint {
    /// The exercise, as in 1.2
    exercise: String,
    /// The first hint: a nudge
    #[arg(short = '1', conflicts_with_all = ["two", "three"])]
    one: bool,
    /// The second: the call, and what surprises about it
    #[arg(short = '2', conflicts_with = "three")]
    two: bool,
    /// The third: almost the code
    #[arg(short = '3')]
    three: bool,
}

/// `cargo x hint`: the next one that was not read, or the one that is asked for.
pub fn hint(args: &Hint) -> Outcome {
    let root = workspace::root();
    let chapters = table::chapters(&root)?;
    let (_, exercise) = select::exercise(&chapters, &args.exercise)?;
    let mut progress = Progress::load(&root);
    let read = progress.hints.get(&exercise.id).copied().unwrap_or(0);
    let number = match (args.one, args.two, args.three) {
        (true, ..) => 1,
        (_, true, _) => 2,
        (_, _, true) => 3,
        _ => (read + 1).min(3),
    };
    progress.hints.insert(exercise.id.clone(), read.max(number));
    progress.save(&root)?;
    let width = screen::width();
    println!("{}", wrap(&format!("{}  ", exercise.id), exercise.id.len() + 2, &exercise.title, width));
    println!("{}", wrap(&format!("hint {number}  "), 8, &exercise.hints[number - 1], width));
    if !exercise.man.is_empty() {
        println!("{}", wrap("man     ", 8, &exercise.man.join(", "), width));
    }
    println!("{}", wrap("page    ", 8, &format!("book/src/{}", exercise.page), width));
    let id = &exercise.id;
    println!(
        "{}",
        wrap(
            "next    ",
            8,
            &if number < 3 {
                format!("cargo x check {id}, or one more: cargo x hint {id} -{}", number + 1)
            } else {
                format!("cargo x check {id}, or ours: cargo x diff {id}, cargo x solve {id}")
            },
            width
        )
    );
    Ok(0)
}

/// How far an exercise is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its tests passed, and it has not changed since.
    Done,
    /// Something was written.
    Begun,
    /// The stub.
    Open,
}

fn progress_of(progress: &Progress, root: &std::path::Path, chapter: &Chapter, exercise: &Exercise) -> State {
    let Ok(work) = Work::open(root, chapter, exercise) else { return State::Begun };
    if work.is_stub(exercise) {
        return State::Open;
    }
    match progress.passed.get(&exercise.id) {
        Some(fingerprint) if *fingerprint == work.fingerprint() => State::Done,
        _ => State::Begun,
    }
}

/// `cargo x list`.
pub fn list() -> Outcome {
    let root = workspace::root();
    let chapters = table::chapters(&root)?;
    let progress = Progress::load(&root);
    let width = screen::width();
    let (mut left, mut skipped) = (0, 0);
    for chapter in &chapters {
        println!("{}", wrap("", 4, &format!("{:02}  {}", chapter.number, chapter.title), width));
        for exercise in &chapter.exercises {
            let missing = needs::missing(&exercise.needs);
            let state = progress_of(&progress, &root, chapter, exercise);
            let (mark, word) = match (state, &missing) {
                (State::Done, _) => (screen::green("✓"), "done"),
                (_, Some(_)) => ("–".to_owned(), "skipped"),
                (State::Begun, _) => ("…".to_owned(), "begun"),
                (State::Open, _) => ("·".to_owned(), "open"),
            };
            let minutes = format!("{word}, {} min", exercise.minutes);
            println!("  {}", super::report::heading(&mark, exercise, &minutes, width - 2).replace('\n', "\n  "));
            match (state, missing) {
                (State::Done, _) => {}
                (_, Some(why)) => {
                    skipped += 1;
                    println!("{}", wrap("         ", 9, &why, width));
                }
                _ => left += exercise.minutes,
            }
        }
    }
    let skips = if skipped > 0 { format!(", {skipped} skipped here") } else { String::new() };
    println!("\n{left} minutes left{skips}.");
    Ok(0)
}

/// The lines of `cargo x doctor`: which exercises can run on this machine, and the mend for the others.
pub fn can_run() -> Result<Vec<String>> {
    let chapters = table::chapters(&workspace::root())?;
    let mut lines = Vec::new();
    for chapter in &chapters {
        let (mut can, mut cannot) = (Vec::new(), Vec::new());
        for exercise in &chapter.exercises {
            match needs::missing(&exercise.needs) {
                None => can.push(exercise.id.as_str()),
                Some(why) => cannot.push(format!("{}: {why}", exercise.id)),
            }
        }
        lines.push(format!(
            "chapter {}: {}",
            chapter.number,
            if can.is_empty() { "none".into() } else { can.join(", ") }
        ));
        lines.extend(cannot.into_iter().map(|line| format!("  not {line}")));
    }
    Ok(lines)
}
