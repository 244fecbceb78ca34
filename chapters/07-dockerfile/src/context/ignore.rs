//! `.dockerignore`: which files of the context COPY and ADD cannot see.
//!
//! One pattern a line, relative to the context's root; `#` begins a comment; a pattern with `!` brings back what an earlier
//! one took; the last that matches counts (<https://docs.docker.com/build/concepts/context/#dockerignore-files>).

use anyhow::{Context, Result, bail};

use super::pattern::Pattern;

/// The patterns of one `.dockerignore`, or of `COPY --exclude`.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    brings_back: bool,
}

impl Ignore {
    /// Reads a `.dockerignore`. `name` is what errors call it.
    pub fn parse(text: &str, name: &str) -> Result<Ignore> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut ignore = Ignore::default();
        for (index, line) in text.lines().enumerate() {
            if !line.starts_with('#') && !line.trim().is_empty() {
                ignore.add(line.trim()).with_context(|| format!("{name}:{}", index + 1))?;
            }
        }
        Ok(ignore)
    }

    /// Takes the patterns of `--exclude` flags.
    pub fn excluding(patterns: &[String]) -> Result<Ignore> {
        let mut ignore = Ignore::default();
        for pattern in patterns {
            ignore.add(pattern).with_context(|| format!("--exclude={pattern}"))?;
        }
        Ok(ignore)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let (brings_back, text) = match line.strip_prefix('!') {
            Some(text) => (true, text.trim()),
            None => (false, line),
        };
        if text.is_empty() {
            bail!("a ! needs a pattern behind it");
        }
        let text = clean(text);
        // "." would ignore everything and Docker takes it for nothing.
        if !text.is_empty() {
            self.rules.push(Rule { pattern: Pattern::path(&text)?, brings_back });
        }
        Ok(())
    }

    /// Whether `path`, relative to the context's root, is left out. What is in a directory shares its fate, unless a later
    /// `!` names it.
    pub fn leaves_out(&self, path: &str) -> bool {
        let ends = path.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at).chain([path.len()]);
        let prefixes: Vec<&str> = ends.map(|end| &path[..end]).collect();
        let mut out = false;
        for rule in &self.rules {
            // Only a rule that would change the answer needs to be asked.
            if out == rule.brings_back && prefixes.iter().rev().any(|prefix| rule.pattern.matches(prefix)) {
                out = !rule.brings_back;
            }
        }
        out
    }

    /// Whether something below the directory `path`, itself left out, may be brought back, so that it must be looked into.
    pub fn may_bring_back_below(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.rules.iter().filter(|rule| rule.brings_back).any(|rule| {
            let literal = rule.pattern.literal_prefix();
            literal.starts_with(&below) || below.starts_with(&literal)
        })
    }
}

/// The path without `.`, `..`, doubled and outer slashes.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(text: &str, path: &str) -> bool {
        Ignore::parse(text, ".dockerignore").unwrap().leaves_out(path)
    }

    #[test]
    fn patterns_match_from_the_root() {
        assert!(left_out("node_modules", "node_modules/a/b"));
        assert!(!left_out("node_modules", "x/node_modules"));
        assert!(left_out("**/node_modules", "x/node_modules/a"));
        assert!(left_out("/a/./b/", "a/b"));
        assert!(left_out("*.md\n", "README.md"));
        assert!(!left_out("*.md", "docs/README.md"));
    }

    #[test]
    fn the_last_match_counts() {
        assert!(!left_out("*.md\n!README.md", "README.md"));
        assert!(left_out("*.md\n!README*.md\nREADME-secret.md", "README-secret.md"));
        assert!(left_out("!a\na", "a"));
        assert!(!left_out("*\n!src", "src/main.c"));
        assert!(left_out("*\n!src", "target/x"));
    }

    #[test]
    fn comments_and_blank_lines() {
        assert!(!left_out("# a\n\n#b\n.\n", "a"));
        assert!(left_out("\u{feff}a\r\n", "a"));
        let error = Ignore::parse("a\n!\n", ".dockerignore").unwrap_err();
        assert_eq!(format!("{error:#}"), ".dockerignore:2: a ! needs a pattern behind it");
        assert!(Ignore::parse("[", ".dockerignore").is_err());
    }

    #[test]
    fn an_ignored_directory_is_looked_into_only_for_exceptions() {
        let ignore = Ignore::parse("a\nb\n!a/x/keep\n", "f").unwrap();
        assert!(ignore.may_bring_back_below("a") && ignore.may_bring_back_below("a/x"));
        assert!(!ignore.may_bring_back_below("b") && !ignore.may_bring_back_below("a/y"));
        assert!(Ignore::parse("a\n!**/keep\n", "f").unwrap().may_bring_back_below("a"));
    }
}
