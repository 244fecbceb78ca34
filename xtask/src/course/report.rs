//! What a learner reads about a test that failed.

use serde::Deserialize;

use super::screen::{self, wrap};
use super::table::{Chapter, Exercise};

/// Printed by the harness before a report (`tests/src/exercise.rs`).
pub const REPORT: &str = "@@exercise ";

/// A failed claim.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Report {
    /// The exercise whose test it is.
    pub id: String,
    /// The test, as libtest names it.
    pub test: String,
    /// What should be seen.
    pub expected: String,
    /// What was.
    pub observed: String,
    /// The mistake that leads there.
    pub means: String,
}

/// The reports in what a test program printed, one for each test.
pub fn reports(output: &str) -> Vec<Report> {
    let mut found: Vec<Report> = Vec::new();
    for line in output.lines() {
        let Some(report) = line.trim_start().strip_prefix(REPORT) else { continue };
        if let Ok(report) = serde_json::from_str::<Report>(report)
            && found.iter().all(|known| known.test != report.test)
        {
            found.push(report);
        }
    }
    found
}

/// A failure, in as many columns as there are. `place` is the hole, as `FILE:LINE`.
pub fn block(chapter: &Chapter, exercise: &Exercise, place: &str, report: &Report, width: usize) -> String {
    let mut text = heading(&screen::red("✗"), exercise, place, width);
    for (name, value) in [("expected", &report.expected), ("observed", &report.observed), ("means", &report.means)] {
        text += "\n";
        text += &wrap(&format!("  {name:<10}"), 12, value, width);
    }
    let page = if exercise.page.is_empty() { &chapter.page } else { &exercise.page };
    let (hint, page) = (format!("cargo x hint {}", exercise.id), format!("book: {page}"));
    let gap = if 12 + hint.len() + 8 + page.len() <= width { "        " } else { "\n            " };
    text + &format!("\n  next      {hint}{gap}{page}")
}

/// `✗ 1.2  TITLE            FILE:LINE`, on two or more lines where one has no room.
pub fn heading(mark: &str, exercise: &Exercise, place: &str, width: usize) -> String {
    let name = format!("{}  {}", exercise.id, exercise.title);
    let used = 2 + name.chars().count();
    if place.is_empty() || used + 2 + place.len() <= width {
        let gap = width.saturating_sub(used + place.len());
        return format!("{mark} {name}{}{place}", " ".repeat(gap)).trim_end().to_owned();
    }
    let indent = exercise.id.len() + 4;
    let title = wrap(&format!("{mark} {}  ", exercise.id), indent, &exercise.title, width);
    format!("{title}\n  {place}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::table::example;

    fn report() -> Report {
        let line = r#"@@exercise {"id":"1.1","test":"ex01::a","expected":"`hostname` inside prints box","observed":"`ex01 run --hostname box hostname` printed: host","means":"the name was not set, or not in the child: the UTS namespace is the one of whoever calls"}"#;
        let mut found = reports(&format!("noise\n{line}\n{line}\n"));
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    #[test]
    fn a_failure_in_a_wide_terminal() {
        let chapter = example();
        let text = block(&chapter, &chapter.exercises[0], "exercises/01-namespaces/src/uts.rs:41", &report(), 90);
        insta::assert_snapshot!(text, @r"
        ✗ 1.1  Do it                                         exercises/01-namespaces/src/uts.rs:41
          expected  `hostname` inside prints box
          observed  `ex01 run --hostname box hostname` printed: host
          means     the name was not set, or not in the child: the UTS namespace is the one of
                    whoever calls
          next      cargo x hint 1.1        book: a.md
        ");
    }

    #[test]
    fn a_failure_in_forty_columns() {
        let chapter = example();
        let text = block(&chapter, &chapter.exercises[0], "exercises/01-namespaces/src/uts.rs:41", &report(), 40);
        insta::assert_snapshot!(text, @r"
        ✗ 1.1  Do it
          exercises/01-namespaces/src/uts.rs:41
          expected  `hostname` inside prints box
          observed  `ex01 run --hostname box
                    hostname` printed: host
          means     the name was not set, or not
                    in the child: the UTS
                    namespace is the one of
                    whoever calls
          next      cargo x hint 1.1
                    book: a.md
        ");
        assert!(text.lines().all(|line| line.chars().count() <= 40));
    }
}
