//! Errors that show the place: file, line, a caret, and what was probably meant.

use std::fmt;
use std::ops::Range;

use namespaces::program::printable;

/// A Dockerfile's text by lines, as its author sees it in the editor.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// What errors call the file.
    pub name: String,
    /// The lines without their ends (`\n` or `\r\n`).
    pub lines: Vec<String>,
}

impl Source {
    /// Cuts `text` into lines. A byte order mark, which some editors put first, is not part of the text.
    pub fn new(name: &str, text: &str) -> Source {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned()).collect();
        Source { name: name.to_owned(), lines }
    }

    /// An error at the bytes `columns` of line `line` (counted from 1).
    pub fn error(&self, line: usize, columns: Range<usize>, message: impl Into<String>) -> ParseError {
        let text = self.lines.get(line.wrapping_sub(1)).cloned().unwrap_or_default();
        ParseError { file: self.name.clone(), line, columns, text, message: message.into(), help: None }
    }
}

/// What is wrong with a Dockerfile, and where.
///
/// ```text
/// Dockerfile:3:1: unknown instruction RUNN
///   |
/// 3 | RUNN make
///   | ^^^^ did you mean RUN?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    file: String,
    line: usize,
    columns: Range<usize>,
    text: String,
    message: String,
    help: Option<String>,
}

impl ParseError {
    /// Adds what stands beside the caret: the way out.
    pub fn help(mut self, help: impl Into<String>) -> ParseError {
        self.help = Some(help.into());
        self
    }

    /// The line of the file, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The range counts bytes; a reader counts characters. Tabs are shown as one blank so that the caret stays below
        // its word, and control characters are not sent to the terminal of whoever builds a stranger's file.
        let shown = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let before = self.text.get(..self.columns.start).unwrap_or(&self.text).chars().count();
        let width = self.text.get(self.columns.clone()).map_or(1, |text| text.chars().count()).max(1);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let message = printable(&self.message);
        writeln!(f, "{}:{}:{}: {message}", self.file, self.line, before + 1)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", shown(self.text.trim_end()))?;
        write!(f, "{margin} | {}{}", " ".repeat(before), "^".repeat(width))?;
        match &self.help {
            Some(help) => write!(f, " {}", printable(help)),
            None => Ok(()),
        }
    }
}

/// The candidate that `word` is probably a misspelling of, if one is near enough to be worth asking.
pub fn did_you_mean<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // A short word is two edits away from everything; allow one edit per three letters.
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let (distance, best) = candidates.iter().map(|candidate| (distance(word, candidate), *candidate)).min()?;
    (distance <= allowed).then_some(best)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words, letter case aside.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut two_up = vec![0; b.len() + 1];
    let mut up: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = up[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(up[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(two_up[j - 2] + 1);
            }
        }
        (two_up, up) = (up, row);
    }
    up[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["RUN", "COPY", "ENTRYPOINT", "ENV"];
        assert_eq!(did_you_mean("RUNN", &known), Some("RUN"));
        assert_eq!(did_you_mean("CPOY", &known), Some("COPY"));
        assert_eq!(did_you_mean("ENTRYPIONT", &known), Some("ENTRYPOINT"));
        assert_eq!(did_you_mean("kubectl", &known), None);
        assert_eq!(did_you_mean("", &known), None);
    }

    #[test]
    fn the_caret_stands_below_the_word_behind_wide_characters_and_tabs() {
        let source = Source::new("Dockerfile", "RUN\té oops");
        let shown = source.error(1, 7..11, "no").to_string();
        let caret = shown.lines().last().unwrap();
        assert_eq!(caret, "  |       ^^^^");
    }
}
