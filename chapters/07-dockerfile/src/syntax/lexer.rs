//! From text to logical lines: parser directives, comments, continuations, heredocs.
//!
//! The format is line by line (<https://docs.docker.com/reference/dockerfile/#format>): an instruction is one line, unless
//! the line ends in the escape character or opens a heredoc. Every logical line remembers where its parts stood, so that
//! a later error can point into the file.

use std::ops::Range;

use super::diagnostic::{ParseError, Source};
use super::heredoc::{self, Heredoc};

/// One instruction's text with continuations joined, and the way back to the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub text: String,
    pub heredocs: Vec<Heredoc>,
    pieces: Vec<Piece>,
}

/// From `offset` in the joined text on, the characters come from `line`, `column` of the file.
#[derive(Debug, Clone, Copy)]
struct Piece {
    offset: usize,
    line: usize,
    column: usize,
}

impl Line {
    /// The line of the file where the instruction begins, counted from 1.
    pub fn number(&self) -> usize {
        self.pieces.first().map_or(1, |piece| piece.line)
    }

    /// An error about the bytes `range` of the joined text, shown where they stand in the file.
    pub fn error(&self, source: &Source, range: Range<usize>, message: impl Into<String>) -> ParseError {
        let found = self.pieces.iter().rev().find(|piece| piece.offset <= range.start);
        let piece = found.copied().unwrap_or(Piece { offset: 0, line: 1, column: 0 });
        let start = piece.column + (range.start - piece.offset);
        // A range that runs on over a continuation is marked on its first line only.
        let end = source.lines.get(piece.line - 1).map_or(start, |text| text.trim_end().len());
        source.error(piece.line, start..(start + range.len()).min(end).max(start), message)
    }

    /// The line from `offset` on, as a line of its own: the instruction inside an ONBUILD.
    pub fn tail(&self, offset: usize) -> Line {
        let mut tail = Line { text: self.text[offset..].to_owned(), ..Line::default() };
        for (index, piece) in self.pieces.iter().enumerate() {
            let end = self.pieces.get(index + 1).map_or(self.text.len(), |next| next.offset);
            if end > offset || index + 1 == self.pieces.len() {
                let skipped = offset.saturating_sub(piece.offset);
                let offset = piece.offset.saturating_sub(offset);
                tail.pieces.push(Piece { offset, line: piece.line, column: piece.column + skipped });
            }
        }
        tail
    }

    fn push(&mut self, text: &str, line: usize, column: usize) {
        self.pieces.push(Piece { offset: self.text.len(), line, column });
        self.text.push_str(text);
    }
}

/// A file cut into logical lines.
#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub lines: Vec<Line>,
    /// The escape character: `\`, or a backquote after `# escape=`.
    pub escape: char,
    /// Things the author should know that are no errors: line and sentence.
    pub notes: Vec<(usize, String)>,
}

pub(crate) fn lex(source: &Source) -> Result<Lexed, ParseError> {
    let mut lexed = Lexed { escape: '\\', ..Lexed::default() };
    let mut next = directives(source, &mut lexed)?;
    while next < source.lines.len() {
        let text = &source.lines[next];
        if text.contains('\0') {
            return Err(source.error(next + 1, 0..1, "a NUL byte: this is not a text file"));
        }
        let trimmed = text.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            next += 1;
            continue;
        }
        let mut line = Line::default();
        next = join(source, next, &mut lexed, &mut line);
        line.text.truncate(line.text.trim_end().len());
        if heredoc::allowed(&line.text) {
            next = heredoc::read(source, &mut line, next, lexed.escape)?;
        }
        lexed.lines.push(line);
    }
    Ok(lexed)
}

/// Reads `# key=value` lines at the very top and gives the number of the first line behind them.
///
/// A blank line, an instruction, an ordinary comment or an unknown key ends them: what looks like a directive further down
/// is a comment.
fn directives(source: &Source, lexed: &mut Lexed) -> Result<usize, ParseError> {
    let mut seen: Vec<String> = Vec::new();
    for (index, text) in source.lines.iter().enumerate() {
        let Some((key, value)) = text.trim().strip_prefix('#').and_then(|text| text.split_once('=')) else {
            return Ok(index);
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if !["syntax", "escape", "check"].contains(&key.as_str()) {
            return Ok(index);
        }
        let (line, whole) = (index + 1, 0..text.trim_end().len());
        if seen.contains(&key) {
            return Err(source.error(line, whole, format!("the directive {key} is given twice")));
        }
        match (key.as_str(), value) {
            ("escape", "\\") => lexed.escape = '\\',
            ("escape", "`") => lexed.escape = '`',
            ("escape", other) => {
                let message = format!("escape={other}: the escape character must be \\ or `");
                return Err(source.error(line, whole, message));
            }
            ("syntax", other) => {
                lexed.notes.push((line, format!("syntax={other} is ignored: this builder reads the file itself")));
            }
            // check=skip=… switches rules of a linter off; there is none here.
            _ => {}
        }
        seen.push(key);
    }
    Ok(source.lines.len())
}

/// Joins the line at index `at` with the lines it continues on, and gives the index behind them.
fn join(source: &Source, at: usize, lexed: &mut Lexed, line: &mut Line) -> usize {
    let first = &source.lines[at];
    let indent = first.len() - first.trim_start().len();
    let (body, mut more) = continued(&first[indent..], lexed.escape);
    line.push(body, at + 1, indent);
    let mut next = at + 1;
    while more && next < source.lines.len() {
        let text = &source.lines[next];
        next += 1;
        if text.trim_start().starts_with('#') {
            continue; // a comment between the lines of an instruction is no part of it
        }
        if text.trim().is_empty() {
            lexed.notes.push((next, "an empty line inside an instruction: is a continuation left over?".into()));
            continue;
        }
        let (body, again) = continued(text, lexed.escape);
        line.push(body, next, 0);
        more = again;
    }
    next
}

/// The line without its continuation mark, and whether there was one. A doubled escape character is a character.
fn continued(text: &str, escape: char) -> (&str, bool) {
    match text.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(body) if !body.ends_with(escape) => (body, true),
        _ => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        lex(&Source::new("f", text)).unwrap().lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn continuations_join_and_drop_comments_and_blank_lines() {
        assert_eq!(texts("RUN a \\\n  # why\n\n  b \\  \n\tc\nENV x=1\n"), ["RUN a   b \tc", "ENV x=1"]);
    }

    #[test]
    fn a_doubled_escape_continues_nothing() {
        assert_eq!(texts("RUN echo \\\\\nUSER x"), ["RUN echo \\\\", "USER x"]);
    }

    #[test]
    fn the_escape_directive_counts_only_at_the_top() {
        assert_eq!(texts("# escape=`\nRUN a `\n b\\\nUSER x"), ["RUN a  b\\", "USER x"]);
        assert_eq!(texts("# hello\n# escape=`\nRUN a `\nUSER x"), ["RUN a `", "USER x"]);
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark_are_no_text() {
        assert_eq!(texts("\u{feff}FROM a\r\nRUN b \\\r\n c\r\n"), ["FROM a", "RUN b  c"]);
    }

    #[test]
    fn an_error_points_into_the_continued_line() {
        let source = Source::new("f", "# x\n  COPY a \\\n    --oops b");
        let line = &lex(&source).unwrap().lines[0];
        let start = line.text.find("--oops").unwrap();
        let error = line.error(&source, start..start + 6, "what");
        assert_eq!(error.to_string().lines().next(), Some("f:3:5: what"));
    }
}
