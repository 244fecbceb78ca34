//! File name patterns, in Go's spelling: `*.txt`, `a?c`, `[a-z]`, and for `.dockerignore` also `**`.
//!
//! In COPY and ADD a pattern is matched name by name (<https://pkg.go.dev/path/filepath#Match>); in `.dockerignore` it is
//! matched against whole paths, and `**` stands for any number of directories.

use anyhow::{Result, bail};

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`: one character, no slash.
    One,
    /// `*`: any characters, no slash.
    Star,
    /// `**`: any characters.
    Anything,
    /// `**/`: any directories, also none.
    Directories,
    /// `[a-z]` or `[^a-z]`: one character, no slash.
    Class {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern for a name. `**` is two stars, which are as good as one.
    pub fn name(text: &str) -> Result<Pattern> {
        Pattern::compile(text, false)
    }

    /// Reads a pattern for a path, with `**`.
    pub fn path(text: &str) -> Result<Pattern> {
        Pattern::compile(text, true)
    }

    fn compile(text: &str, deep: bool) -> Result<Pattern> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' if deep && chars.next_if_eq(&'*').is_some() => match chars.next_if_eq(&'/') {
                    // `a/**/` names what is in a, however deep, and so does `a/**`.
                    Some(_) if chars.peek().is_some() => Token::Directories,
                    _ => Token::Anything,
                },
                '*' => Token::Star,
                '?' => Token::One,
                '[' => class(&mut chars, text)?,
                '\\' => match chars.next() {
                    Some(c) => Token::Char(c),
                    None => bail!("the pattern {text} ends in a lone backslash"),
                },
                c => Token::Char(c),
            });
        }
        Ok(Pattern(tokens))
    }

    /// Whether the whole of `text` matches.
    ///
    /// All ways to match are followed at once, so that `*a*a*a*a*b` costs no more than its length times the text's.
    pub fn matches(&self, text: &str) -> bool {
        // Place 2i: before token i. Place 2i+1: inside a `**/` that has begun to take characters.
        let mut places = vec![false; 2 * self.0.len() + 1];
        places[0] = true;
        self.pass_empty(&mut places);
        for c in text.chars() {
            let mut next = vec![false; places.len()];
            for (i, token) in self.0.iter().enumerate() {
                let (before, inside) = (places[2 * i], places[2 * i + 1]);
                match token {
                    Token::Star => next[2 * i] |= before && c != '/',
                    Token::Anything => next[2 * i] |= before,
                    Token::Directories => {
                        next[2 * i + 1] |= before || inside;
                        next[2 * i + 2] |= (before || inside) && c == '/';
                    }
                    token => next[2 * i + 2] |= before && token.takes(c),
                }
            }
            self.pass_empty(&mut next);
            places = next;
        }
        places.last() == Some(&true)
    }

    /// What may match nothing is passed by.
    fn pass_empty(&self, places: &mut [bool]) {
        for (i, token) in self.0.iter().enumerate() {
            if places[2 * i] && matches!(token, Token::Star | Token::Anything | Token::Directories) {
                places[2 * i + 2] = true;
            }
        }
    }

    /// The literal text before the first wildcard: everything that matches begins with it.
    pub fn literal_prefix(&self) -> String {
        let literal = |token: &Token| if let Token::Char(c) = token { Some(*c) } else { None };
        self.0.iter().map_while(literal).collect()
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Char(own) => *own == c,
            Token::One => c != '/',
            Token::Class { not, ranges } => {
                c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *not
            }
            Token::Star | Token::Anything | Token::Directories => false,
        }
    }
}

/// What follows a `[`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &str) -> Result<Token> {
    let not = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next() {
            Some(']') if !ranges.is_empty() => return Ok(Token::Class { not, ranges }),
            Some('\\') => chars.next(),
            // Go refuses an empty class and a `-` without a left side.
            Some(']' | '-') | None => None,
            other => other,
        };
        let high = match (low, chars.next_if_eq(&'-')) {
            (_, None) => low,
            (_, Some(_)) => match chars.next() {
                Some('\\') => chars.next(),
                Some(']') | None => None,
                other => other,
            },
        };
        match (low, high) {
            (Some(low), Some(high)) => ranges.push((low, high)),
            _ => bail!("the pattern {text} has a [ without a sound class up to its ]"),
        }
    }
}

/// Whether COPY would treat `text` as a pattern rather than a name.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(pattern: &str, text: &str) -> bool {
        Pattern::name(pattern).unwrap().matches(text)
    }

    fn path(pattern: &str, text: &str) -> bool {
        Pattern::path(pattern).unwrap().matches(text)
    }

    #[test]
    #[rustfmt::skip]
    fn names_as_in_go() {
        // From the table of Go's own test of filepath.Match.
        for (pattern, text, expected) in [
            ("abc", "abc", true), ("*", "abc", true), ("*c", "abc", true), ("a*", "a", true), ("a*", "ab/c", false),
            ("a*/b", "abc/b", true), ("a*/b", "a/c/b", false), ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true), ("a*b?c*x", "abxbbxdbxebxczzy", false), ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true), ("ab[e-g]", "abc", false), ("ab[^c]", "abc", false), ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true), ("a\\*b", "ab", false), ("a?b", "a☺b", true), ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false), ("[a-ζ]*", "α", true), ("*[a-ζ]", "A", false), ("a?b", "a/b", false),
            ("[\\]a]", "]", true), ("[\\-]", "-", true), ("[x\\-]", "z", false), ("*x", "xxx", true), ("", "", true),
        ] {
            assert_eq!(name(pattern, text), expected, "{pattern} {text}");
        }
        for bad in ["[]a]", "[-]", "[x-]", "[-x]", "a[", "[a-b-c]", "[", "[^", "[^bc", "a\\"] {
            assert!(Pattern::name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn paths_with_double_stars() {
        for (pattern, text, expected) in [
            ("**/foo", "foo", true), ("**/foo", "a/b/foo", true), ("**/foo", "a/bfoo", false), ("foo/**", "foo/a/b", true),
            ("foo/**", "foo", false), ("**", "a/b", true), ("a/**/b", "a/b", true), ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "ab", false), ("**/*.go", "x/y.go", true), ("*/*.go", "x/y/z.go", false), ("a**b", "a/x/b", true),
            ("**/a/**/", "x/a/b", true), (".git", ".git", true), ("x.y", "xay", false),
        ] {
            assert_eq!(path(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_cost_little() {
        assert!(!name(&"*a".repeat(200), &"a".repeat(2000).replace("aaaaaaaaaa", "aaaaaaaaab")));
    }
}
