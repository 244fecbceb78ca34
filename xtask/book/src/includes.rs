//! What pages include: files and anchors must be there, and what is made to be included must be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::pages::{self, Page, normal};

/// An include: `{{#include FILE:ANCHOR}}`.
pub struct Include {
    /// Where it stands in the page.
    pub offset: usize,
    /// Relative to the root.
    pub file: PathBuf,
    /// An anchor, or a range of lines.
    pub part: Option<String>,
}

/// All includes of a page.
pub fn of(page: &Page) -> Vec<Include> {
    let mut found = Vec::new();
    for (offset, _) in page.text.match_indices("{{#") {
        if page.text[..offset].ends_with('\\') {
            continue; // shown, not done
        }
        let Some((inside, _)) = page.text[offset + 3..].split_once("}}") else { continue };
        let Some((word, target)) = inside.trim().split_once(char::is_whitespace) else { continue };
        if !matches!(word, "include" | "rustdoc_include" | "playground") {
            continue;
        }
        let (file, part) = match target.trim().split_once(':') {
            Some((file, part)) => (file, Some(part.to_owned())),
            None => (target.trim(), None),
        };
        found.push(Include { offset, file: normal(&page.directory().join(file)), part });
    }
    found
}

/// Every include resolves; every anchor, transcript, figure and generated piece is used.
pub fn check(root: &Path, pages: &[Page]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut used: BTreeSet<(PathBuf, String)> = BTreeSet::new();
    let mut taken: BTreeSet<PathBuf> = BTreeSet::new();
    for page in pages {
        for include in of(page) {
            let place = page.at(include.offset);
            let Ok(text) = fs::read_to_string(root.join(&include.file)) else {
                wrong.push(format!("{place}: includes {}, which is not there", include.file.display()));
                continue;
            };
            taken.insert(include.file.clone());
            let Some(part) = include.part else { continue };
            if part.chars().all(|c| c.is_ascii_digit() || c == ':') {
                wrong.push(format!("{place}: includes lines by number ({part}), which change: use an anchor"));
                continue;
            }
            match region(&text, &part) {
                None => wrong.push(format!("{place}: there is no anchor {part} in {}", include.file.display())),
                Some(body) if body.trim().is_empty() => {
                    wrong.push(format!("{place}: the anchor {part} in {} is empty", include.file.display()));
                }
                Some(_) => drop(used.insert((include.file, part))),
            }
        }
    }
    wrong.extend(unused_anchors(root, &used)?);
    wrong.extend(unused_files(root, pages, &taken)?);
    wrong.extend(orphans(root)?);
    Ok(wrong)
}

/// The lines between an anchor's two comments, other anchors left out; `None` if there are none such.
fn region(text: &str, name: &str) -> Option<String> {
    let marks = |line: &str, word: &str| {
        line.split_once(word).is_some_and(|(_, rest)| rest.split_whitespace().next() == Some(name))
    };
    let mut lines = text.lines().skip_while(|line| !marks(line, "ANCHOR:")).skip(1).peekable();
    lines.peek()?;
    let mut body = String::new();
    for line in lines {
        if marks(line, "ANCHOR_END:") {
            return Some(body);
        }
        if !line.contains("ANCHOR") {
            body.push_str(line);
            body.push('\n');
        }
    }
    None
}

/// Anchors in the code that no page includes. Those of exercises are for the starters.
fn unused_anchors(root: &Path, used: &BTreeSet<(PathBuf, String)>) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for directory in ["chapters", "final", "tests"] {
        for file in pages::files(root, Path::new(directory))? {
            if file.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(root.join(&file))?;
            for (index, line) in text.lines().enumerate() {
                let Some(name) = line.trim_start().strip_prefix("// ANCHOR:").map(str::trim) else { continue };
                if !name.starts_with("ex-") && !used.contains(&(file.clone(), name.to_owned())) {
                    wrong.push(format!("{}:{}: no page includes the anchor {name}", file.display(), index + 1));
                }
            }
        }
    }
    Ok(wrong)
}

/// Figures, transcripts and generated pieces that no page shows.
fn unused_files(root: &Path, pages: &[Page], taken: &BTreeSet<PathBuf>) -> Result<Vec<String>> {
    let shown = |file: &Path| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        taken.contains(file) || pages.iter().any(|page| page.text.contains(&format!("/{name})")))
    };
    let mut wrong = Vec::new();
    for (directory, extension) in [("book/src", ""), ("book/transcripts", "txt"), ("book/generated", "md")] {
        for file in pages::files(root, Path::new(directory))? {
            let found = file.extension().unwrap_or_default().to_string_lossy().into_owned();
            let candidate = if extension.is_empty() { found != "md" } else { found == extension };
            if candidate && !shown(&file) {
                wrong.push(format!("{}: no page shows it", file.display()));
            }
        }
    }
    Ok(wrong)
}

/// Transcripts without a session are typed by hand; sessions without a transcript were never run.
fn orphans(root: &Path) -> Result<Vec<String>> {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    let files = pages::files(root, Path::new("book/transcripts"))?;
    let named = |extension: &str| -> Vec<String> {
        files.iter().filter_map(|file| file.file_name()?.to_str()?.strip_suffix(extension)).map(str::to_owned).collect()
    };
    for session in named(".session") {
        made.insert(session, 0);
    }
    for transcript in named(".txt") {
        match made.iter_mut().find(|(session, _)| {
            transcript.strip_prefix(session.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        }) {
            Some((_, count)) => *count += 1,
            None => wrong.push(format!("book/transcripts/{transcript}.txt: no session makes it")),
        }
    }
    for (session, count) in made {
        if count == 0 {
            wrong.push(format!("book/transcripts/{session}.session: was not run (cargo x transcripts {session})"));
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_found() {
        let text = "a {{#include ../../x.rs:part}} \\{{#include no}} {{#title t}}\n{{#rustdoc_include y}}";
        let page = Page { path: "book/src/01/a.md".into(), text: text.into() };
        let found = of(&page);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].file.to_str(), found[0].part.as_deref()), (Some("book/x.rs"), Some("part")));
        assert_eq!(page.at(found[1].offset), "book/src/01/a.md:2");
    }

    #[test]
    fn regions_of_anchors() {
        let text = "// ANCHOR: a\none\n// ANCHOR: b\ntwo\n// ANCHOR_END: b\n// ANCHOR_END: a\n";
        assert_eq!(region(text, "a").as_deref(), Some("one\ntwo\n"));
        assert_eq!(region(text, "b").as_deref(), Some("two\n"));
        assert!(region(text, "c").is_none());
    }
}
