//! From a chapter's crate to its starter: the same files with holes.
//!
//! The text is changed line by line and never parsed as Rust: what a learner sees is what stands in the chapter, comments and
//! all. Four things differ: the regions of exercises, unit tests, the book's anchors, and the crate's own name.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::anchors::{self, Mark};
use super::table::{Chapter, Exercise};

/// What takes the place of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// A stub that says which exercise it is.
    Stub,
    /// The solution.
    Solution,
    /// The solution, unless the variable [`BLANK`] names the exercise: one build serves every proof.
    Switch,
}

/// Ids with commas between them, as in `1.2,1.4`: the holes that a program built with [`Fill::Switch`] has. `SUITE_` lets it
/// into virtual hosts.
pub const BLANK: &str = "SUITE_BLANK";

/// All files of the starter of a chapter, relative to its directory, formatted.
pub fn generate(root: &Path, chapter: &Chapter, fill: Fill) -> Result<Vec<(PathBuf, String)>> {
    let sources = root.join("chapters").join(&chapter.directory).join("src");
    let manifest = fs::read_to_string(sources.with_file_name("Cargo.toml")).context("read the chapter's Cargo.toml")?;
    let mut files = vec![(PathBuf::from("Cargo.toml"), self::manifest(chapter, &manifest)?)];
    for file in super::files(&sources)? {
        let text = fs::read_to_string(sources.join(&file)).with_context(|| format!("read {}", file.display()))?;
        let text = source(chapter, &file, &text, fill)?;
        let rust = file.extension().is_some_and(|extension| extension == "rs");
        let text = if rust { format(&text).with_context(|| format!("format {}", file.display()))? } else { text };
        files.push((Path::new("src").join(file), text));
    }
    Ok(files)
}

/// What stands between the markers of one exercise, in the starter or in the solution.
pub fn body(root: &Path, chapter: &Chapter, exercise: &Exercise, fill: Fill) -> Result<String> {
    let path = root.join("chapters").join(&chapter.directory).join("src").join(&exercise.file);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let text = source(chapter, &exercise.file, &text, fill)?;
    let region = anchors::regions(&text)?.into_iter().find(|region| region.name == exercise.anchor);
    Ok(region.with_context(|| format!("{} has lost {}", path.display(), exercise.anchor))?.body(&text))
}

/// The library's name in `use`: `ex_01_namespaces`.
pub fn library(chapter: &Chapter) -> String {
    chapter.starter_package().replace('-', "_")
}

/// The same dependencies, another name; its tests are the suite's.
fn manifest(chapter: &Chapter, original: &str) -> Result<String> {
    let dependencies: Vec<&str> = original
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty())
        .collect();
    ensure!(!dependencies.is_empty(), "chapters/{}/Cargo.toml has no [dependencies]", chapter.directory);
    Ok(format!(
        "\
# Made by `cargo x starters` from chapters/{directory}. Yours to edit are the holes in src.

[package]
name = \"{package}\"
description = \"Exercises of chapter {number}: {title}\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[lib]
test = false
doctest = false

[[bin]]
name = \"{program}\"
path = \"src/main.rs\"
test = false

[dependencies]
{dependencies}

# A hole leaves unused what its solution uses.
[lints.rust]
unused = {{ level = \"allow\", priority = -1 }}
unused_must_use = \"warn\"
",
        directory = chapter.directory,
        package = chapter.starter_package(),
        number = chapter.number,
        title = chapter.title,
        program = chapter.program(),
        dependencies = dependencies.join("\n"),
    ))
}

/// One source file.
fn source(chapter: &Chapter, file: &Path, text: &str, fill: Fill) -> Result<String> {
    let regions = anchors::regions(text).map_err(|error| anyhow::anyhow!("{}:{error}", file.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<String> = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        let line = lines[index];
        let region = regions.iter().find(|region| region.first == index && region.is_exercise());
        match (region, anchors::mark(line)) {
            (Some(region), _) => {
                let exercise = chapter.exercises.iter().find(|exercise| exercise.anchor == region.name);
                let exercise = exercise.with_context(|| format!("{}: whose is {}?", file.display(), region.name))?;
                tail_of_a_body(file, &lines, region)?;
                let indent = &line[..line.len() - line.trim_start().len()];
                out.push(line.to_owned());
                if fill != Fill::Solution {
                    out.extend(hole(exercise, indent, fill));
                }
                if fill != Fill::Stub {
                    let body = &lines[region.first + 1..region.last];
                    out.extend(body.iter().filter(|line| anchors::mark(line).is_none()).map(|line| (*line).to_owned()));
                }
                out.push(lines[region.last].to_owned());
                index = region.last;
            }
            (None, Some(Mark::Begin(_) | Mark::End(_))) => {} // the book's
            (None, None) if is_unit_tests(&lines, index) => {
                index =
                    closing(&lines, index).with_context(|| format!("{}: where do its tests end?", file.display()))?;
            }
            (None, None) => out.push(line.to_owned()),
        }
        index += 1;
    }
    let text = out.join("\n").trim_end().to_owned() + "\n";
    let text = rename(&text, &format!("{}::", chapter.package.replace('-', "_")), &format!("{}::", library(chapter)));
    Ok(rename(&text, &format!("ch{:02}", chapter.number), &chapter.program()))
}

/// A stub replaces what is left of a function: code after the region would not be reached, or would not compile.
fn tail_of_a_body(file: &Path, lines: &[&str], region: &anchors::Region) -> Result<()> {
    let after = lines[region.last + 1..].iter().find(|line| anchors::mark(line).is_none() && !line.trim().is_empty());
    if after.is_some_and(|line| line.trim_start().starts_with('}')) {
        return Ok(());
    }
    bail!("{}:{}: the region {} is not the tail of a function's body", file.display(), region.last + 1, region.name)
}

fn hole(exercise: &Exercise, indent: &str, fill: Fill) -> Vec<String> {
    let Exercise { id, title, minutes, .. } = exercise;
    let stub = format!("todo!(\"exercise {id}: {title}\")");
    if fill == Fill::Stub {
        return vec![
            format!(
                "{indent}// Exercise {id}, {minutes} minutes. The page: {}; hints: cargo x hint {id}",
                exercise.page
            ),
            format!("{indent}{stub}"),
        ];
    }
    let named = format!("ids.to_string_lossy().split(',').any(|id| id == \"{id}\")");
    vec![format!("{indent}if std::env::var_os(\"{BLANK}\").is_some_and(|ids| {named}) {{ {stub} }}")]
}

fn is_unit_tests(lines: &[&str], index: usize) -> bool {
    lines[index] == "#[cfg(test)]" && lines.get(index + 1).is_some_and(|next| next.starts_with("mod "))
}

/// The line with the brace that closes the item which begins at `index`, in formatted source.
fn closing(lines: &[&str], index: usize) -> Option<usize> {
    (index..lines.len()).find(|&index| lines[index] == "}")
}

/// Replaces whole names: `namespaces::x`, but not `crate::namespaces::x` nor `own_namespaces::x`.
fn rename(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find(from) {
        let (before, after) = rest.split_at(place);
        let part_of_a_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '/');
        let follows = after[from.len()..].chars().next().is_some_and(|c| !from.ends_with(':') && c.is_alphanumeric());
        let whole = !before.ends_with(part_of_a_name) && !follows;
        out.push_str(before);
        out.push_str(if whole { to } else { from });
        rest = &after[from.len()..];
    }
    out + rest
}

/// As `cargo fmt` would have it: names of another length break lines elsewhere and sort differently.
fn format(text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout", "--config", "max_width=120,use_small_heuristics=Max"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start rustfmt (rustup component add rustfmt)")?;
    child.stdin.take().context("rustfmt's input")?.write_all(text.as_bytes()).context("write to rustfmt")?;
    let output = child.wait_with_output().context("wait for rustfmt")?;
    ensure!(output.status.success(), "rustfmt: {}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout).context("rustfmt's output")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::table::example;

    const TEXT: &str = "\
use namespaces::Kind; // ch01 crate::namespaces::x

// ANCHOR: book
fn f() -> u8 {
    // ANCHOR: ex-a
    let x = 1;
    // ANCHOR: inner
    x
    // ANCHOR_END: inner
    // ANCHOR_END: ex-a
}
// ANCHOR_END: book

#[cfg(test)]
mod tests {
    fn g() {
    }
}
";

    fn filled(fill: Fill) -> String {
        source(&example(), Path::new("lib.rs"), TEXT, fill).unwrap()
    }

    #[test]
    fn a_region_becomes_a_stub() {
        assert_eq!(
            filled(Fill::Stub),
            "\
use ex_01_namespaces::Kind; // ex01 crate::namespaces::x

fn f() -> u8 {
    // ANCHOR: ex-a
    // Exercise 1.1, 5 minutes. The page: a.md; hints: cargo x hint 1.1
    todo!(\"exercise 1.1: Do it\")
    // ANCHOR_END: ex-a
}
"
        );
    }

    #[test]
    fn the_solution_has_no_hole() {
        let text = filled(Fill::Solution);
        assert!(!text.contains("todo") && text.contains("    let x = 1;\n    x\n"), "{text}");
    }

    #[test]
    fn the_switch_has_both() {
        let text = filled(Fill::Switch);
        assert!(text.contains(BLANK) && text.contains("todo!(\"exercise 1.1: Do it\")") && text.contains("let x = 1;"));
    }

    #[test]
    fn a_region_in_the_middle_is_refused() {
        let text = "fn f() {\n    // ANCHOR: ex-a\n    g();\n    // ANCHOR_END: ex-a\n    h();\n}\n";
        let error = source(&example(), Path::new("lib.rs"), text, Fill::Stub).unwrap_err().to_string();
        assert_eq!(error, "lib.rs:4: the region ex-a is not the tail of a function's body");
    }

    #[test]
    fn the_manifest_takes_the_dependencies_over() {
        let original =
            "[package]\nname = \"x\"\n\n[dependencies]\nlibc.workspace = true\n\n[lints]\nworkspace = true\n";
        let text = manifest(&example(), original).unwrap();
        assert!(text.contains("name = \"ex-01-namespaces\"") && text.contains("libc.workspace = true\n\n#"), "{text}");
        assert!(manifest(&example(), "[package]\n").is_err());
    }
}
