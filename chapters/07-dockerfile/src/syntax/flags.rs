//! Flags of instructions: `COPY --from=build --chown=1000 …`. They stand before the arguments and are written `--name=value`.

use std::ops::Range;

use super::words;

/// One flag as written. It lies in the line's text at `range`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flag {
    pub name: String,
    pub value: Option<String>,
    pub range: Range<usize>,
}

/// What each instruction takes.
pub(crate) fn known(instruction: &str) -> &'static [&'static str] {
    match instruction {
        "FROM" => &["platform"],
        "RUN" => &["network"],
        "COPY" => &["from", "chown", "chmod", "exclude"],
        "ADD" => &["chown", "chmod", "exclude"],
        "HEALTHCHECK" => &["interval", "timeout", "start-period", "start-interval", "retries"],
        _ => &[],
    }
}

/// Flags that other builders have and this one does not: taking them without doing them would be a lie.
pub(crate) fn not_supported(instruction: &str, flag: &str) -> bool {
    let names: &[&str] = match instruction {
        "RUN" => &["mount", "security", "device"],
        "COPY" => &["link", "parents"],
        "ADD" => &["link", "checksum", "keep-git-dir", "unpack"],
        _ => &[],
    };
    names.contains(&flag)
}

/// Takes the flags off the front of `text[at..]`, and gives them with the offset of the first argument.
pub(crate) fn take(text: &str, at: usize, escape: char) -> (Vec<Flag>, usize) {
    let mut flags = Vec::new();
    let mut at = skip_blanks(text, at);
    while text[at..].starts_with("--") {
        let end = match words::split(&text[at..], escape) {
            Ok(words) => words.first().map_or(text.len(), |word| at + word.range().end),
            // A quote that is never closed belongs to the arguments; a flag ends at the next blank.
            Err(_) => text[at..].find(char::is_whitespace).map_or(text.len(), |length| at + length),
        };
        let body = &text[at + 2..end];
        if body.is_empty() {
            return (flags, skip_blanks(text, end)); // `--` ends the flags
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.trim_matches(['"', '\'']).to_owned())),
            None => (body, None),
        };
        flags.push(Flag { name: name.to_owned(), value, range: at..end });
        at = skip_blanks(text, end);
    }
    (flags, at)
}

fn skip_blanks(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start().len()
}
