//! What a build tells whoever watches it.

use std::cell::RefCell;
use std::io::{IsTerminal, Write, stderr};

use namespaces::program::{printable, sentence, tell, tell_lines};

use crate::ParseError;

/// Watches a build.
pub trait Progress {
    /// A step begins: number, how many there will be, the instruction.
    fn step(&self, number: usize, total: usize, instruction: &str);
    /// The step that began need not be done: the cache has its result.
    fn cached(&self);
    /// Something the author should know.
    fn note(&self, text: &str);
    /// Whether what RUN's commands print is kept back, and shown only if one fails.
    fn keeps_output(&self) -> bool {
        false
    }
}

/// One line a step, on standard error: `[2/5] RUN make`.
#[derive(Debug, Default)]
pub struct Plain {
    last: RefCell<String>,
}

impl Progress for Plain {
    fn step(&self, number: usize, total: usize, instruction: &str) {
        let line = format!("[{number}/{total}] {}", one_line(instruction));
        tell(&line);
        *self.last.borrow_mut() = line;
    }

    fn cached(&self) {
        // On a terminal the word joins its line; in a file a line once written stays.
        match stderr().is_terminal() {
            true => drop(writeln!(stderr(), "\x1b[1A\x1b[2K{} CACHED", self.last.borrow())),
            false => tell("CACHED"),
        }
    }

    fn note(&self, text: &str) {
        tell(format!("note: {text}"));
    }
}

/// Tells why a build of `program` has failed: what is wrong with a Dockerfile is shown in several lines, all else is one.
pub fn tell_failure(program: &str, error: &anyhow::Error) {
    match error.chain().any(|cause| cause.is::<ParseError>()) {
        true => {
            let shown: Vec<String> = format!("{error:#}").lines().map(printable).collect();
            tell_lines(&format!("{program}: {}", shown.join("\n")));
        }
        false => tell(format!("{program}: {}", sentence(error))),
    }
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn step(&self, _: usize, _: usize, _: &str) {}
    fn cached(&self) {}
    fn note(&self, _: &str) {}
    fn keeps_output(&self) -> bool {
        true
    }
}

/// An instruction as one line of moderate length, without what would move a terminal's cursor.
pub fn one_line(instruction: &str) -> String {
    let words: Vec<&str> = instruction.split_whitespace().collect();
    let line: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= 100 { line } else { line.chars().take(99).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_become_one_short_line() {
        assert_eq!(one_line("RUN a   \tb\x1b[2J"), "RUN a b[2J");
        assert_eq!(one_line(&"é".repeat(200)).chars().count(), 100);
    }
}
