//! Heredocs: `RUN <<EOF`, `COPY <<-'EOF' /etc/motd`. Several lines of content in the middle of the file.

use super::diagnostic::{ParseError, Source};
use super::lexer::Line;
use super::words;

/// The content between `<<NAME` and a line that is `NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator, without its quotes.
    pub name: String,
    /// The lines, each with its `\n`; for `<<-` without their leading tabs.
    pub content: String,
    /// The terminator was not quoted: variables in the content of a COPY are replaced.
    pub expand: bool,
    /// Written `<<-`.
    pub chomp: bool,
}

/// Whether the instruction of this line may have heredocs. Elsewhere `<<` is two characters.
pub(crate) fn allowed(text: &str) -> bool {
    let keyword = text.split_whitespace().next().unwrap_or_default();
    ["RUN", "COPY", "ADD", "ONBUILD"].iter().any(|name| name.eq_ignore_ascii_case(keyword))
}

/// Reads the contents of all heredocs that `line` opens, from line index `next` on; gives the index behind them.
pub(crate) fn read(source: &Source, line: &mut Line, mut next: usize, escape: char) -> Result<usize, ParseError> {
    let Ok(found) = words::split(&line.text, escape) else {
        return Ok(next); // an open quote: the shell may make sense of it, and a heredoc needs a whole word
    };
    for word in found {
        let Some(mut heredoc) = opening(word.text) else { continue };
        loop {
            let Some(text) = source.lines.get(next) else {
                let message = format!("the heredoc {} is never closed", heredoc.name);
                let error = line.error(source, word.range(), message);
                return Err(error.help(format!("expected a line that is just {}", heredoc.name)));
            };
            next += 1;
            let text = if heredoc.chomp { text.trim_start_matches('\t') } else { text };
            if text == heredoc.name {
                break;
            }
            heredoc.content.push_str(text);
            heredoc.content.push('\n');
        }
        line.heredocs.push(heredoc);
    }
    Ok(next)
}

/// Whether `text` is nothing but the opening of a heredoc.
pub(crate) fn is_heredoc(text: &str) -> bool {
    !text.contains(char::is_whitespace) && opening(text).is_some()
}

/// Reads a word of the form `[fd]<<[-]NAME`, NAME perhaps quoted.
pub(crate) fn opening(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let chomp = rest.starts_with('-');
    let quoted = rest.strip_prefix('-').unwrap_or(rest);
    let name: String = quoted.chars().filter(|c| !matches!(c, '"' | '\'' | '\\')).collect();
    // `<<<` is bash's here-string; `<<` alone or in front of an operator is left to the shell.
    if name.is_empty() || name.contains(|c: char| !(c.is_alphanumeric() || "_-.+".contains(c))) {
        return None;
    }
    let expand = name == quoted;
    Some(Heredoc { name, content: String::new(), expand, chomp })
}

#[cfg(test)]
mod tests {
    use super::super::lexer::lex;
    use super::*;

    fn heredocs(text: &str) -> Vec<Heredoc> {
        lex(&Source::new("f", text)).unwrap().lines.remove(0).heredocs
    }

    #[test]
    fn content_ends_at_the_terminator_and_keeps_comments() {
        let found = heredocs("RUN <<EOF\n# no comment\n EOF\nx\nEOF\nUSER a");
        assert_eq!(found[0].content, "# no comment\n EOF\nx\n");
        assert!(found[0].expand);
    }

    #[test]
    fn two_heredocs_follow_each_other() {
        let found = heredocs("COPY <<a <<-\"b\" /x/\n1\na\n\t\t2\n\tb\n");
        assert_eq!((found[0].content.as_str(), found[1].content.as_str()), ("1\n", "2\n"));
        assert_eq!((found[0].expand, found[1].expand), (true, false));
    }

    #[test]
    fn shifts_and_here_strings_are_no_heredocs() {
        for text in ["RUN echo $((1<<2))", "RUN cat <<< word", "RUN cat << x", "ENV a=<<EOF", "RUN [\"a\", \"<<b\"]"] {
            assert_eq!(heredocs(text), []);
        }
    }
}
