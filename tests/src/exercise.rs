//! Tests that speak to a learner: what was expected, what was observed, and what that means.
//!
//! ```no_run
//! # use suite::exercise;
//! #[test]
//! fn the_name_is_set_inside() {
//!     exercise("1.2", |it| {
//!         let inside = it.run(&["--hostname", "box"], &["hostname"]);
//!         it.expects("`hostname` inside prints box")
//!             .observed(&inside)
//!             .means("sethostname(2) was not called, or not in the child")
//!             .holds(inside.printed() == "box");
//!     });
//! }
//! ```
//!
//! The program under test is the *subject*: the chapter's own by default, or what the variable `SUITE_CH01` (for chapter 1)
//! names: `ex01`, a learner's; `minidocker`, the engine; `plain`, a mere fork and exec that ignores all options. A failure is
//! printed as one line, `@@exercise {"id":"1.2",…}`, for `cargo x check`, and as text for everybody else.

use std::fmt::{self, Display};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::host::{in_host, name_of};
use crate::program::chapter_program;
use crate::subject::Wish;
use crate::{Background, Host, Subject};

/// Printed before what a failed test reports, as JSON in one line.
pub const REPORT: &str = "@@exercise ";
/// What `todo!()` prints before the words of a hole.
const HOLE: &str = "not yet implemented: exercise ";
/// A virtual host for a program that nobody has looked at yet: a starter, or a learner's attempt.
const LIMITS: &[&str] = &["--memory", "536870912", "--pids", "256", "--cpus", "1", "--timeout", "300"];
/// Longer observations are cut: a learner reads the first lines.
const LONGEST: usize = 600;

/// Runs the test of an exercise in a virtual host; called first and only in a `#[test]`.
pub fn exercise<F: FnOnce(&Exercise<'_>)>(id: &str, test: F) {
    let name = name_of(&test);
    in_host(name, LIMITS, |host| {
        let it = Exercise { host, id };
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(&it))) else { return };
        let failure = match panic.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(panic) => Failure::unforeseen(&panic),
        }
        .of(id);
        let report = json!({
            "id": id, "test": name,
            "expected": failure.expected, "observed": failure.observed, "means": failure.means,
        });
        println!("\n{REPORT}{report}");
        panic!("exercise {id}, {name}\n{failure}");
    });
}

/// The virtual host, and in it the subject of an exercise.
pub struct Exercise<'a> {
    host: &'a Host,
    id: &'a str,
}

impl Deref for Exercise<'_> {
    type Target = Host;

    fn deref(&self) -> &Host {
        self.host
    }
}

impl Exercise<'_> {
    /// The chapter, from the id: 1 of `1.2`.
    fn chapter_number(&self) -> u8 {
        self.id.split('.').next().and_then(|number| number.parse().ok()).expect("an id such as 1.2")
    }

    /// Who is under test.
    pub fn subject(&self) -> Subject {
        match chapter_program(self.chapter_number()).as_str() {
            "minidocker" => Subject::Engine,
            "plain" => Subject::Plain,
            _ => Subject::Chapter(self.chapter_number()),
        }
    }

    /// Under which name the subject's containers find the payload.
    pub fn payload_path(&self) -> &'static str {
        if self.subject().has_root() { "payload" } else { "/tmp/suite/bin/payload" }
    }

    /// `chNN run OPTIONS… ARGV…`, to the end.
    pub fn run(&self, options: &[&str], argv: &[&str]) -> Ran {
        Ran::of(self.command(options, argv))
    }

    /// The same by an ordinary user.
    pub fn run_as_user(&self, options: &[&str], argv: &[&str]) -> Ran {
        Ran::of(self.by_user(self.command(options, argv)))
    }

    /// Starts `chNN run OPTIONS… ARGV…` and goes on.
    pub fn start(&self, options: &[&str], argv: &[&str]) -> Background {
        Background::start(self.command(options, argv))
    }

    /// The command line of `chNN run OPTIONS… ARGV…`.
    pub fn command(&self, options: &[&str], argv: &[&str]) -> Command {
        self.subject().command(self.host, Wish { options, ..Wish::default() }, argv)
    }

    /// The subject's program with any words: `chNN enter …`. Only a chapter's program has them.
    pub fn program(&self, words: &[&str]) -> Ran {
        Ran::of(self.program_command(words))
    }

    /// Starts the subject's program with any words and goes on.
    pub fn start_program(&self, words: &[&str]) -> Background {
        Background::start(self.program_command(words))
    }

    fn program_command(&self, words: &[&str]) -> Command {
        let subject = self.subject();
        self.expects("the program is one of a chapter")
            .observed(format!("it is {subject:?}, which knows no {:?}", words.first().unwrap_or(&"words")))
            .means("this test fits chapters only")
            .holds(matches!(subject, Subject::Chapter(_)));
        let mut command = Command::new(self.bin(&chapter_program(self.chapter_number())));
        command.args(words);
        command
    }

    /// Begins a claim: a sentence about what a container can see or do.
    pub fn expects(&self, what: &str) -> Claim {
        Claim(Failure { expected: what.to_owned(), ..Failure::default() })
    }
}

/// A sentence that is true or ends the test.
pub struct Claim(Failure);

impl Claim {
    /// What was seen.
    pub fn observed(mut self, what: impl Display) -> Claim {
        self.0.observed = what.to_string();
        self
    }

    /// What it means if that is not what was expected: the mistake that leads there.
    pub fn means(mut self, what: &str) -> Claim {
        self.0.means = what.to_owned();
        self
    }

    /// Ends the test with a report unless `true`.
    pub fn holds(self, holds: bool) {
        if !holds {
            // No message yet: it is printed once, as the report.
            resume_unwind(Box::new(self.0));
        }
    }
}

/// A claim that is not true.
#[derive(Default)]
struct Failure {
    expected: String,
    observed: String,
    means: String,
}

impl Failure {
    /// A panic of the harness, such as a wait in vain.
    fn unforeseen(panic: &(dyn std::any::Any + Send)) -> Failure {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Failure {
            expected: "the test gets as far as its last step".to_owned(),
            observed: text.unwrap_or_else(|| "it stopped without a word".to_owned()),
            means: "the program ended, or was silent, before the test could look at it".to_owned(),
        }
    }

    /// The same in the words of an exercise: a hole that is still open explains everything.
    fn of(mut self, id: &str) -> Failure {
        if let Some(hole) = hole(&self.observed) {
            self.means = if hole == id {
                "the hole is still open: this is where your code goes".to_owned()
            } else {
                format!("exercise {hole} is on the way, and its hole is still open")
            };
            if let Some((_, words)) = self.observed.split_once(&format!("\n{HOLE}")) {
                self.observed = format!("it stopped: {HOLE}{}", words.lines().next().unwrap_or_default());
            }
        }
        if let Some((end, _)) = self.observed.char_indices().nth(LONGEST) {
            self.observed.truncate(end);
            self.observed.push('…');
        }
        self
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  expected  {}", self.expected)?;
        writeln!(f, "  observed  {}", self.observed)?;
        write!(f, "  means     {}", self.means)
    }
}

/// The exercise whose hole a program has come to, by what it printed: `1.2`.
fn hole(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(HOLE)?;
    rest.split([':', ' ', '\n']).next()
}

/// A program that has ended.
pub struct Ran {
    /// As it was typed.
    line: String,
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ran {
    fn of(mut command: Command) -> Ran {
        let line = typed(&command);
        let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("start {line}: {error}"));
        Ran {
            line,
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, without the last newline.
    pub fn printed(&self) -> &str {
        self.stdout.trim_end()
    }

    /// What it complained of, without the last newline.
    pub fn said(&self) -> &str {
        self.stderr.trim_end()
    }
}

/// As in `` `ch01 run false` ended with 1 and said: … ``.
impl Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.line)?;
        if hole(&self.stderr).is_some() {
            let (_, words) = self.stderr.split_once(HOLE).unwrap_or_default();
            return write!(f, "stopped: {HOLE}{}", words.lines().next().unwrap_or_default());
        }
        let mut joint = match self.status {
            Some(0) => "",
            Some(status) => {
                write!(f, "ended with {status}")?;
                " and "
            }
            None => {
                write!(f, "was killed")?;
                " and "
            }
        };
        for (verb, text) in [("printed", self.printed()), ("said", self.said())] {
            if !text.is_empty() {
                write!(f, "{joint}{verb}: {text}")?;
                joint = " and ";
            }
        }
        match joint.is_empty() {
            true => write!(f, "printed nothing"),
            false => Ok(()),
        }
    }
}

/// A command line with the last names of our own paths.
fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let short = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy().into_owned();
        match word.strip_prefix("/tmp/suite/bin/") {
            Some(own) => own.rsplit('/').next().unwrap_or(own).to_owned(),
            None if word.contains([' ', ';', '$', '|', '&', '<', '>']) => format!("'{word}'"),
            None => word,
        }
    };
    words.map(short).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(status: Option<i32>, stdout: &str, stderr: &str) -> Ran {
        let command = Command::new("/tmp/suite/bin/proofs/ex01");
        Ran { line: typed(&command), status, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    #[test]
    fn what_ran_is_told_in_a_sentence() {
        assert_eq!(ran(Some(0), "box\n", "").to_string(), "`ex01` printed: box");
        assert_eq!(ran(Some(0), "", "").to_string(), "`ex01` printed nothing");
        assert_eq!(ran(Some(1), "", "").to_string(), "`ex01` ended with 1");
        assert_eq!(ran(Some(125), "a\n", "b\n").to_string(), "`ex01` ended with 125 and printed: a and said: b");
        assert_eq!(ran(None, "", "").to_string(), "`ex01` was killed");
    }

    #[test]
    fn an_open_hole_explains_everything() {
        let stderr = "\nthread 'main' (7) panicked at x.rs:1:2:\nnot yet implemented: exercise 1.2: A name\nnote: …\n";
        let observed = ran(Some(101), "", stderr).to_string();
        assert_eq!(observed, "`ex01` stopped: not yet implemented: exercise 1.2: A name");
        let failure = |id| Failure { observed: observed.clone(), ..Failure::default() }.of(id).means;
        assert!(failure("1.2").contains("your code"));
        assert!(failure("1.3").contains("exercise 1.2 is on the way"));
        let unread = Failure { observed: stderr.to_owned(), ..Failure::default() }.of("1.2").observed;
        assert_eq!(unread, "it stopped: not yet implemented: exercise 1.2: A name");
    }

    #[test]
    fn a_long_observation_is_cut() {
        let failure = Failure { observed: "ö".repeat(5000), ..Failure::default() }.of("1.1");
        assert_eq!(failure.observed.chars().count(), LONGEST + 1);
    }
}
