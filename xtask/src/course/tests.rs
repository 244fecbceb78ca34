//! The tests of exercises as they stand in `tests/suites/exNN.rs`, held against the table.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::table::Chapter;

/// A test function.
struct Test {
    name: String,
    line: usize,
    /// The id that it gives to `exercise(…)`.
    id: Option<String>,
}

/// Every test that the table names exists and says the same id, and the table names every test.
pub fn hold_against(root: &Path, chapter: &Chapter) -> Result<()> {
    let module = chapter.program();
    let file = PathBuf::from(format!("tests/suites/{module}.rs"));
    let text = fs::read_to_string(root.join(&file)).with_context(|| format!("read {}", file.display()))?;
    let tests = tests(&text);
    for exercise in &chapter.exercises {
        for path in &exercise.tests {
            let name = path.rsplit("::").next().unwrap_or(path);
            let Some(test) = tests.iter().find(|test| test.name == name) else {
                bail!("{}: exercise {}: there is no test {path}", chapter.table.display(), exercise.id);
            };
            let place = format!("{}:{}", file.display(), test.line);
            match &test.id {
                Some(id) if *id == exercise.id => {}
                Some(id) => bail!("{place}: {name} says exercise {id}, the table says {}", exercise.id),
                None => bail!("{place}: {name} is no exercise(\"{}\", …)", exercise.id),
            }
        }
    }
    for test in tests {
        let path = format!("{module}::{}", test.name);
        let named = chapter.exercises.iter().any(|exercise| exercise.tests.contains(&path));
        ensure!(named, "{}:{}: no exercise names the test {path}", file.display(), test.line);
    }
    Ok(())
}

fn tests(text: &str) -> Vec<Test> {
    let mut found: Vec<Test> = Vec::new();
    let mut marked = false;
    for (index, line) in text.lines().enumerate() {
        let code = line.trim();
        if code == "#[test]" {
            marked = true;
        } else if let Some(name) = code.strip_prefix("fn ").filter(|_| marked) {
            let name = name.split('(').next().unwrap_or(name).to_owned();
            found.push(Test { name, line: index + 1, id: None });
            marked = false;
        } else if let (Some((_, rest)), Some(test)) = (code.split_once("exercise(\""), found.last_mut()) {
            test.id.get_or_insert_with(|| rest.split('"').next().unwrap_or(rest).to_owned());
        }
    }
    found
}
