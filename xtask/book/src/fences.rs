//! Code blocks: each has a language, and a console shows what was recorded, or only what is to be typed.

use std::path::Path;

use anyhow::Result;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

use crate::pages::Page;

/// A line for each block that is wrong.
pub fn check(_root: &Path, pages: &[Page]) -> Result<Vec<String>> {
    Ok(pages.iter().flat_map(page).collect())
}

fn page(page: &Page) -> Vec<String> {
    let mut wrong = Vec::new();
    for (event, range) in Parser::new_ext(&page.text, Options::ENABLE_TABLES).into_offset_iter() {
        let Event::Start(Tag::CodeBlock(kind)) = event else { continue };
        let place = page.at(range.start);
        match kind {
            CodeBlockKind::Indented => wrong.push(format!("{place}: a code block by indentation: fence it")),
            CodeBlockKind::Fenced(language) if language.trim().is_empty() => {
                wrong.push(format!("{place}: a code block without a language"));
            }
            CodeBlockKind::Fenced(language) if language.split([',', ' ']).next() == Some("console") => {
                let body: Vec<&str> = page.text[range].lines().skip(1).collect();
                if let Some(line) = typed_output(&body) {
                    wrong.push(format!("{place}: output typed by hand in a console block: `{line}`"));
                }
            }
            CodeBlockKind::Fenced(_) => {}
        }
    }
    wrong
}

/// The first line of a console block that is neither an include nor typed at a prompt.
fn typed_output<'a>(body: &[&'a str]) -> Option<&'a str> {
    let mut continued = false;
    for line in body {
        let text = line.trim();
        if text.starts_with("```") || text.is_empty() {
            continue;
        }
        let letter = text.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or(text);
        let prompt = ["$ ", "# ", "> "].iter().any(|prompt| letter.starts_with(prompt));
        if !(prompt || continued || text.starts_with("{{#include ") && text.contains("transcripts/")) {
            return Some(text);
        }
        continued = text.ends_with('\\');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        page(&Page { path: "p.md".into(), text: text.into() })
    }

    #[test]
    fn a_fence_needs_a_language() {
        assert_eq!(told("x\n\n```\na\n```\n"), ["p.md:3: a code block without a language"]);
        assert_eq!(told("```rust,no_run\na\n```\n"), [""; 0]);
    }

    #[test]
    fn no_output_by_hand() {
        assert_eq!(told("```console\n$ id\nA# ls \\\n  x\n```\n"), [""; 0]);
        assert_eq!(told("```console\n{{#include ../transcripts/a.txt}}\n```\n"), [""; 0]);
        assert_eq!(told("```console\n$ id\nroot\n```\n"), ["p.md:1: output typed by hand in a console block: `root`"]);
    }
}
