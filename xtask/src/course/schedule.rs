//! `cargo x schedule`: how long things take, by the `minutes` of the tables; and the book's tables of exercises.

use std::fmt::Write;

use super::table::{self, Chapter};
use crate::{Outcome, workspace};

/// Reading and talking about a chapter, per minute of exercises: a chapter is as much text as doing.
const READING: u32 = 1;
/// The courses of the facilitator's guide: name, and the last chapter.
const COURSES: [(&str, u8); 3] = [("Half a day", 3), ("A day", 5), ("Two days", 7)];
/// A break after so many minutes.
const STRETCH: u32 = 90;

/// `cargo x schedule`.
pub fn run() -> Outcome {
    print!("{}", page(&table::chapters(&workspace::root())?));
    Ok(0)
}

/// The schedules as a piece of Markdown.
pub fn page(chapters: &[Chapter]) -> String {
    let mut text = String::new();
    for (name, last) in COURSES {
        let part: Vec<&Chapter> = chapters.iter().filter(|chapter| chapter.number <= last).collect();
        let doing: u32 = part.iter().map(|chapter| chapter.minutes()).sum();
        let all = doing + doing * READING;
        let _ = writeln!(text, "**{name}: chapters 1 to {last}.** {} with everything.\n", hours(all));
        let missing = usize::from(last) - part.len();
        if missing > 0 {
            let _ = writeln!(text, "(Not counted: {missing} of these chapters, which have no exercises yet.)\n");
        }
        text.push_str("| from | to | chapter | what |\n|---:|---:|---|---|\n");
        let (mut now, mut since) = (0, 0);
        let mut row = |now: &mut u32, minutes: u32, chapter: &str, what: &str| {
            let _ = writeln!(text, "| {} | {} | {chapter} | {what} |", clock(*now), clock(*now + minutes));
            *now += minutes;
        };
        for chapter in part {
            let title = format!("{}. {}", chapter.number, chapter.title);
            let exercises = format!("{} exercises", chapter.exercises.len());
            for (minutes, what) in
                [(chapter.minutes() * READING, "read, and run what is read"), (chapter.minutes(), &exercises)]
            {
                // Before what comes next, so that none stands at the end.
                if now - since >= STRETCH {
                    row(&mut now, 15, "", "break");
                    since = now;
                }
                row(&mut now, minutes, &title, what);
            }
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

fn hours(minutes: u32) -> String {
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} minutes"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Minutes after the beginning, as `1:05`.
fn clock(minutes: u32) -> String {
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

/// A chapter's exercises as a piece of Markdown.
pub fn exercises_page(chapter: &Chapter) -> String {
    let mut text = String::from("| | exercise | minutes | needs | file | man pages |\n|---|---|---:|---|---|---|\n");
    for exercise in &chapter.exercises {
        let needs = match &exercise.needs[..] {
            [] => "nothing".to_owned(),
            needs => needs.iter().map(|need| need.name()).collect::<Vec<_>>().join(", "),
        };
        let file = format!("exercises/{}/src/{}", chapter.directory, exercise.file.display());
        let man = exercise.man.iter().map(|page| format!("`{page}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "| **{}** | {} | {} | {needs} | `{file}` | {man} |",
            exercise.id, exercise.title, exercise.minutes
        );
    }
    let _ = writeln!(text, "\nTogether {}.", hours(chapter.minutes()));
    text
}
