//! `chapters/NN-x/exercises.toml`: the one table that starters, runner, book and proofs read.
//!
//! Whoever writes one is told of every mistake with the file and the line: a table that is quietly half right would make
//! checks that cannot fail.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use toml::Spanned;

use super::needs::Need;
use super::row::{self, Place, Row};
use super::sources::Sources;

/// A chapter that has exercises.
#[derive(Debug)]
pub struct Chapter {
    /// 1 to 7.
    pub number: u8,
    /// `01-namespaces`, below `chapters/` and below `exercises/`.
    pub directory: String,
    /// The name of the chapter's package and library.
    pub package: String,
    /// What it is about.
    pub title: String,
    /// Its first page, below `book/src`.
    pub page: String,
    /// In the order of the table, which is that of their numbers.
    pub exercises: Vec<Exercise>,
    /// The table itself, for messages.
    pub table: PathBuf,
}

impl Chapter {
    /// `ex01`: the program of the starter, and the file of its tests.
    pub fn program(&self) -> String {
        format!("ex{:02}", self.number)
    }

    /// `ex-01-namespaces`.
    pub fn starter_package(&self) -> String {
        format!("ex-{}", self.directory)
    }

    /// `SUITE_CH01`: the variable by which the suite is told whose program to test.
    pub fn subject_variable(&self) -> String {
        format!("SUITE_CH{:02}", self.number)
    }

    /// Minutes of all exercises.
    pub fn minutes(&self) -> u32 {
        self.exercises.iter().map(|exercise| exercise.minutes).sum()
    }
}

/// One row: one idea with an effect that a test can see.
#[derive(Debug)]
pub struct Exercise {
    /// `1.2`.
    pub id: String,
    /// `ex-hostname`.
    pub anchor: String,
    /// What to do, in up to 60 characters.
    pub title: String,
    /// How long a learner takes.
    pub minutes: u32,
    /// What the machine must have.
    pub needs: Vec<Need>,
    /// The tests that prove it, as libtest names them.
    pub tests: Vec<String>,
    /// The page that explains it, below `book/src`.
    pub page: String,
    /// Man pages, as in `clone(2)`.
    pub man: Vec<String>,
    /// A nudge; the call and its surprising argument; almost the code.
    pub hints: [String; 3],
    /// Exercises whose tests fail as well when only this hole is open.
    pub dependants: Vec<String>,
    /// Why the program of the chapter before passes its tests already.
    pub before: Option<String>,
    /// Why its tests do not fit the engine.
    pub engine: Option<String>,
    /// The file with its region, below `src`.
    pub file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    chapter: Spanned<u8>,
    title: String,
    page: String,
    exercise: Vec<Spanned<Row>>,
}

/// All chapters below `root` that have a table, in order.
pub fn chapters(root: &Path) -> Result<Vec<Chapter>> {
    let mut tables = Vec::new();
    let directory = root.join("chapters");
    for entry in fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))? {
        let table = entry?.path().join("exercises.toml");
        if table.exists() {
            tables.push(table);
        }
    }
    tables.sort();
    tables.iter().map(|table| read(root, table)).collect()
}

/// Reads one table and holds it against the sources and the tests.
fn read(root: &Path, path: &Path) -> Result<Chapter> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let place = Place { path: path.strip_prefix(root).unwrap_or(path), text: &text };
    let rows: Rows = match toml::from_str(&text) {
        Ok(rows) => rows,
        Err(error) => return place.fail(error.span().unwrap_or(0..0), error.message()),
    };
    let directory = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let number = *rows.chapter.get_ref();
    if !directory.starts_with(&format!("{number:02}-")) {
        return place.fail(rows.chapter.span(), format!("chapter {number} does not live in {directory}"));
    }
    let sources = Sources::read(root, &directory)?;
    let mut exercises: Vec<Exercise> = Vec::new();
    for row in rows.exercise {
        exercises.push(row::exercise(&place, &row, number, &exercises, &sources)?);
    }
    ensure!(!exercises.is_empty(), "{}: a table without exercises", place.path.display());
    sources.all_named(&exercises)?;
    let chapter = Chapter {
        number,
        package: package_name(path)?,
        directory,
        title: rows.title,
        page: rows.page,
        exercises,
        table: place.path.to_owned(),
    };
    known_dependants(&chapter)?;
    super::tests::hold_against(root, &chapter)?;
    Ok(chapter)
}

fn known_dependants(chapter: &Chapter) -> Result<()> {
    for exercise in &chapter.exercises {
        for id in &exercise.dependants {
            let known = *id != exercise.id && chapter.exercises.iter().any(|other| other.id == *id);
            ensure!(known, "{}: exercise {}: unknown dependant {id:?}", chapter.table.display(), exercise.id);
        }
    }
    Ok(())
}

/// `name = "…"` of the package beside a table.
fn package_name(table: &Path) -> Result<String> {
    #[derive(Deserialize)]
    struct Manifest {
        package: Package,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
    }
    let path = table.with_file_name("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
    Ok(manifest.package.name)
}

/// A chapter with one exercise, for tests.
#[cfg(test)]
pub fn example() -> Chapter {
    let exercise = Exercise {
        id: "1.1".into(),
        anchor: "ex-a".into(),
        title: "Do it".into(),
        minutes: 5,
        needs: vec![],
        tests: vec!["ex01::a".into()],
        page: "a.md".into(),
        man: vec!["clone(2)".into()],
        hints: ["one".into(), "two".into(), "three".into()],
        dependants: vec![],
        before: None,
        engine: None,
        file: "lib.rs".into(),
    };
    Chapter {
        number: 1,
        directory: "01-namespaces".into(),
        package: "namespaces".into(),
        title: "T".into(),
        page: "p.md".into(),
        exercises: vec![exercise],
        table: "chapters/01-namespaces/exercises.toml".into(),
    }
}
