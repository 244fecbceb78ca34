//! What is to be typed: lines with prompts, and directives between them.

use anyhow::{Result, bail};

/// Whose shell it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// The root of the virtual host.
    Root,
    /// The ordinary user of the suites.
    Learner,
}

/// One line of a session, or several that belong together.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// `@part NAME`: a new file begins.
    Part(String),
    /// `@user learner`: whose the shells are that start from here on.
    User(User),
    /// `@holds TEXT`: the next command goes on running; its output is shown once this text has come and nothing moves any more.
    Holds(String),
    /// `@until A# COMMAND`: repeat a command in a terminal, unseen, until it succeeds: the kernel, whose work no process shows,
    /// may need a moment that a reader does not notice.
    Until {
        /// The letter, or nothing.
        terminal: String,
        /// What the shell gets.
        command: String,
    },
    /// `@returns A`: wait for the command that was left running in terminal A, and show what it has said since.
    Returns(String),
    /// `A# COMMAND`, the letter being that of the terminal.
    Type {
        /// The letter, or nothing.
        terminal: String,
        /// What the reader sees: prompt and command.
        shown: String,
        /// What the shell gets.
        command: String,
    },
}

/// All steps with the numbers of their lines.
pub fn steps(text: &str) -> Result<Vec<(usize, Step)>> {
    let mut steps = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        let step = match word {
            _ if line.trim().is_empty() || line.starts_with("%%") => continue,
            "@needs" | "@vary" | "@drop" => continue, // for whoever compares
            "@part" => Step::Part(rest.to_owned()),
            "@user" if rest == "root" => Step::User(User::Root),
            "@user" if rest == "learner" => Step::User(User::Learner),
            "@holds" => Step::Holds(rest.to_owned()),
            "@returns" => Step::Returns(rest.to_owned()),
            "@until" => match rest.split_once(' ').and_then(|(word, command)| Some((prompt(word)?, command))) {
                Some((terminal, command)) => Step::Until { terminal: terminal.to_owned(), command: command.to_owned() },
                None => bail!("line {number}: @until needs a prompt and a command"),
            },
            _ => {
                let Some(terminal) = prompt(word) else {
                    bail!("line {number}: neither a directive nor a prompt: {line}");
                };
                let (mut shown, mut command) = (format!("{line}\n"), rest.to_owned());
                while command.ends_with('\\') {
                    let Some((_, more)) = lines.next() else { bail!("line {number}: the command goes on and ends") };
                    shown += &format!("> {more}\n");
                    command.truncate(command.len() - 1);
                    command += more.trim_start();
                }
                Step::Type { terminal: terminal.to_owned(), shown, command }
            }
        };
        steps.push((number, step));
    }
    Ok(steps)
}

/// The terminal's letter, if a word is a prompt: `#`, `$`, `A#`.
fn prompt(word: &str) -> Option<&str> {
    let letter = word.strip_suffix(['#', '$'])?;
    let one = letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_uppercase());
    (letter.is_empty() || one).then_some(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_directives() {
        let text = "@needs root\n%% a remark\n@part one\nA# echo a \\\n  b\n@user learner\n$ id\n@until A# test -e x\n";
        let found = steps(text).unwrap();
        let typed = |terminal: &str, shown: &str, command: &str| Step::Type {
            terminal: terminal.into(),
            shown: shown.into(),
            command: command.into(),
        };
        assert_eq!(
            found,
            [
                (3, Step::Part("one".into())),
                (4, typed("A", "A# echo a \\\n>   b\n", "echo a b")),
                (6, Step::User(User::Learner)),
                (7, typed("", "$ id\n", "id")),
                (8, Step::Until { terminal: "A".into(), command: "test -e x".into() }),
            ]
        );
        for wrong in ["echo\n", "@until true\n", "@user nobody\n", "AB# x\n", "# a \\\n"] {
            assert!(steps(wrong).is_err(), "{wrong}");
        }
    }
}
