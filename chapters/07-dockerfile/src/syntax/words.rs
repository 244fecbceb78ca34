//! Words: what blanks separate, quotes and escapes minded but kept; and the JSON arrays of the exec form.

use std::ops::Range;

/// A word with its quotes and escapes still on, and where it begins in the text it was cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub text: &'a str,
    pub start: usize,
}

impl Word<'_> {
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }
}

/// Cuts at blanks outside quotes. The error is the offset of a quote that is never closed.
pub(crate) fn split(text: &str, escape: char) -> Result<Vec<Word<'_>>, usize> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote: Option<(char, usize)> = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                words.extend(start.take().map(|start| Word { text: &text[start..at], start }));
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some((c, at)),
            Some((open, _)) if c == open => quote = None,
            _ => {}
        }
        start.get_or_insert(at);
        // The escape takes the next character with it, except between single quotes, where it is a character.
        if c == escape && quote.is_none_or(|(open, _)| open != '\'') {
            chars.next();
        }
    }
    if let Some((_, at)) = quote {
        return Err(at);
    }
    words.extend(start.map(|start| Word { text: &text[start..], start }));
    Ok(words)
}

/// Cuts at blanks and minds nothing else.
pub(crate) fn plain(text: &str) -> Vec<Word<'_>> {
    let here = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace().map(|word| Word { text: word, start: here(word) }).collect()
}

/// The exec form, `["a", "b"]`: a JSON array of strings. Anything else, also broken JSON, is for the shell.
pub(crate) fn json_array(text: &str) -> Option<Vec<String>> {
    text.trim_start().starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split(text, '\\').unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn quotes_and_escapes_hold_blanks() {
        assert_eq!(texts(r#" a="b c" d\ e 'f g'"#), [r#"a="b c""#, r"d\ e", "'f g'"]);
        assert_eq!(texts(r#"'\' b"#), [r"'\'", "b"]);
        assert_eq!(split("a 'b", '\\'), Err(2));
    }

    #[test]
    fn exec_form_is_an_array_of_strings_only() {
        assert_eq!(json_array(r#"["a", "b c"]"#), Some(vec!["a".into(), "b c".into()]));
        assert_eq!(json_array("[ -f x ]"), None);
        assert_eq!(json_array("[1]"), None);
        assert_eq!(json_array("['a']"), None);
    }
}
