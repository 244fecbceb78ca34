//! Text on the learner's screen: its width, breaking lines, a little colour.

use std::env;
use std::io::{IsTerminal, stdout};

/// Wider lines are hard to read.
const WIDEST: usize = 110;
/// Narrower ones cannot be broken well.
const NARROWEST: usize = 30;

/// How many columns there are.
pub fn width() -> usize {
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let wish = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    terminal.or(wish).unwrap_or(100).clamp(NARROWEST, WIDEST)
}

/// Breaks a text at spaces; lines after the first are indented. What is longer than a line stays whole: a path can be copied.
pub fn wrap(first: &str, indent: usize, text: &str, width: usize) -> String {
    let mut out = String::from(first);
    let mut column = first.chars().count();
    for (number, paragraph) in text.lines().enumerate() {
        if number > 0 {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        }
        let mut begun = false;
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if begun && column + 1 + length > width {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else if begun {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
            begun = true;
        }
    }
    out
}

/// Prints a paragraph.
pub fn say(text: &str) {
    println!("{}", wrap("", 0, text, width()));
}

/// Green, where colours are seen.
pub fn green(text: &str) -> String {
    paint("32", text)
}

/// Red.
pub fn red(text: &str) -> String {
    paint("31", text)
}

/// Grey.
pub fn grey(text: &str) -> String {
    paint("2", text)
}

fn paint(code: &str, text: &str) -> String {
    match stdout().is_terminal() && env::var_os("NO_COLOR").is_none() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrap("  a  ", 5, "one two three", 12), "  a  one two\n     three");
        assert_eq!(wrap("", 0, "a-word-longer-than-the-line x", 10), "a-word-longer-than-the-line\nx");
        assert_eq!(wrap("> ", 2, "one\ntwo", 80), "> one\n  two");
    }
}
