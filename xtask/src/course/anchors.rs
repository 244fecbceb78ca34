//! Anchors in comments, as mdBook reads them: `// ANCHOR: name` … `// ANCHOR_END: name`.

use anyhow::{Result, bail, ensure};

/// What the anchors of exercises begin with.
pub const EXERCISE: &str = "ex-";

/// The lines between the two comments of an anchor.
#[derive(Debug, PartialEq, Eq)]
pub struct Region {
    /// The anchor's name.
    pub name: String,
    /// The line with `ANCHOR:`, counted from 0.
    pub first: usize,
    /// The line with `ANCHOR_END:`.
    pub last: usize,
}

impl Region {
    /// Whether it becomes a hole.
    pub fn is_exercise(&self) -> bool {
        self.name.starts_with(EXERCISE)
    }

    /// The text between the two comments.
    pub fn body(&self, text: &str) -> String {
        text.lines().skip(self.first + 1).take(self.last - self.first - 1).flat_map(|line| [line, "\n"]).collect()
    }
}

/// A line that begins or ends an anchor.
pub enum Mark<'a> {
    /// `ANCHOR: name`.
    Begin(&'a str),
    /// `ANCHOR_END: name`.
    End(&'a str),
}

/// What a line says about anchors. Only comments count: a string that has the word in it is no anchor.
pub fn mark(line: &str) -> Option<Mark<'_>> {
    let comment = line.trim_start();
    let comment = ["//", "#", "%%", "<!--"].iter().find_map(|start| comment.strip_prefix(start))?.trim();
    let name = |text: &'_ str| -> Option<usize> {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(text.len());
        (end > 0).then_some(end)
    };
    if let Some(rest) = comment.strip_prefix("ANCHOR_END:").map(str::trim_start) {
        return name(rest).map(|end| Mark::End(&rest[..end]));
    }
    let rest = comment.strip_prefix("ANCHOR:").map(str::trim_start)?;
    name(rest).map(|end| Mark::Begin(&rest[..end]))
}

/// All regions of a text, in the order of their beginnings. An error begins with its line: `12: …`.
pub fn regions(text: &str) -> Result<Vec<Region>> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut found: Vec<Region> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match mark(line) {
            Some(Mark::Begin(name)) => {
                let twice = open.iter().any(|(_, other)| *other == name) || found.iter().any(|r| r.name == name);
                ensure!(!twice, "{}: the anchor {name} begins twice", index + 1);
                open.push((index, name));
            }
            Some(Mark::End(name)) => {
                let Some((first, innermost)) = open.pop() else {
                    bail!("{}: the anchor {name} ends and has not begun", index + 1);
                };
                ensure!(innermost == name, "{}: the anchor {name} ends within {innermost}", index + 1);
                found.push(Region { name: name.to_owned(), first, last: index });
            }
            None => {}
        }
    }
    if let Some((index, name)) = open.pop() {
        bail!("{}: the anchor {name} does not end", index + 1);
    }
    found.sort_by_key(|region| region.first);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_may_be_nested() {
        let text = "// ANCHOR: a\n x\n    // ANCHOR: ex-b\n y\n    // ANCHOR_END: ex-b\n// ANCHOR_END: a\n";
        let found = regions(text).unwrap();
        assert_eq!(found[0], Region { name: "a".into(), first: 0, last: 5 });
        assert_eq!(found[1].body(text), " y\n");
        assert!(found[1].is_exercise() && !found[0].is_exercise());
    }

    #[test]
    fn disorder_is_told_with_its_line() {
        for (text, told) in [
            ("// ANCHOR: a\n", "1: the anchor a does not end"),
            ("\n// ANCHOR_END: a\n", "2: the anchor a ends and has not begun"),
            ("// ANCHOR: a\n// ANCHOR: b\n// ANCHOR_END: a\n", "3: the anchor a ends within b"),
            ("// ANCHOR: a\n// ANCHOR_END: a\n// ANCHOR: a\n", "3: the anchor a begins twice"),
        ] {
            assert_eq!(regions(text).unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn only_comments_are_anchors() {
        assert!(mark("let x = \"ANCHOR: a\";").is_none());
        assert!(mark("//! `// ANCHOR: a` begins a region").is_none());
        assert!(matches!(mark("    // ANCHOR:  a-b_c "), Some(Mark::Begin("a-b_c"))));
    }
}
