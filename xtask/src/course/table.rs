//! `chapters/NN-x/exercises.toml`: the one table that starters, runner, book and proofs read.
//!
//! Whoever writes one is told of every mistake with the file and the line: a table that is quietly half right would make
//! checks that cannot fail.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use toml::Spanned;

use super::anchors::{self, Region};
use super::needs::Need;

/// Longer titles do not fit into a line of the runner, nor into a stub.
const LONGEST_TITLE: usize = 60;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: Spanned<String>,
    anchor: Spanned<String>,
    title: Spanned<String>,
    minutes: Spanned<u32>,
    needs: Spanned<Vec<String>>,
    tests: Vec<Spanned<String>>,
    page: Spanned<String>,
    man: Vec<Spanned<String>>,
    hints: Spanned<Vec<String>>,
    #[serde(default)]
    dependants: Vec<Spanned<String>>,
    before: Option<String>,
    engine: Option<String>,
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
        let exercise = row_to_exercise(&place, &row, number, &exercises, &sources)?;
        exercises.push(exercise);
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

/// A file under examination.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn fail<T>(&self, span: Range<usize>, what: impl std::fmt::Display) -> Result<T> {
        let line = self.text[..span.start.min(self.text.len())].matches('\n').count() + 1;
        bail!("{}:{line}: {what}", self.path.display())
    }
}

fn row_to_exercise(
    place: &Place<'_>,
    row: &Spanned<Row>,
    chapter: u8,
    before: &[Exercise],
    sources: &Sources,
) -> Result<Exercise> {
    let values = row.get_ref();
    let id = values.id.get_ref();
    let wanted = format!("{chapter}.{}", before.len() + 1);
    if *id != wanted {
        return place.fail(values.id.span(), format!("the id {id:?} stands where {wanted:?} must"));
    }
    let title = values.title.get_ref();
    let plain = |c: char| !c.is_control() && !matches!(c, '"' | '\\' | '{' | '}');
    if title.is_empty() || title.chars().count() > LONGEST_TITLE || !title.chars().all(plain) {
        let what = format!("a title has 1 to {LONGEST_TITLE} characters in one line, without quotes and braces");
        return place.fail(values.title.span(), what);
    }
    if !(1..=180).contains(values.minutes.get_ref()) {
        return place.fail(values.minutes.span(), "minutes are 1 to 180");
    }
    let needs = needs(values.needs.get_ref()).or_else(|error| place.fail(values.needs.span(), error))?;
    if values.tests.is_empty() {
        return place.fail(row.span(), format!("exercise {id} has no tests: nothing would prove it"));
    }
    let module = format!("ex{chapter:02}::");
    for test in &values.tests {
        if !test.get_ref().starts_with(&module) {
            return place.fail(test.span(), format!("the test {:?} is not of {module}", test.get_ref()));
        }
        if before.iter().any(|other| other.tests.contains(test.get_ref())) {
            return place.fail(test.span(), format!("the test {:?} belongs to two exercises", test.get_ref()));
        }
    }
    for page in &values.man {
        let Some((name, section)) = page.get_ref().split_once('(') else {
            return place.fail(page.span(), format!("{:?} is no man page, as clone(2) is one", page.get_ref()));
        };
        if name.is_empty() || !section.ends_with(')') {
            return place.fail(page.span(), format!("{:?} is no man page, as clone(2) is one", page.get_ref()));
        }
    }
    if !values.page.get_ref().ends_with(".md") {
        return place.fail(values.page.span(), "a page is a .md file below book/src");
    }
    let hints: Vec<String> = values.hints.get_ref().iter().map(|hint| hint.trim().to_owned()).collect();
    let count = hints.len();
    let Ok(hints) = <[String; 3]>::try_from(hints) else {
        return place.fail(values.hints.span(), format!("there are three hints to an exercise, not {count}"));
    };
    if hints.iter().any(String::is_empty) {
        return place.fail(values.hints.span(), "a hint is empty");
    }
    let anchor = values.anchor.get_ref();
    if before.iter().any(|other| other.anchor == *anchor) {
        return place.fail(values.anchor.span(), format!("the anchor {anchor:?} belongs to two exercises"));
    }
    let file = sources.find(anchor).or_else(|error| place.fail(values.anchor.span(), error))?;
    Ok(Exercise {
        id: id.clone(),
        anchor: anchor.clone(),
        title: title.clone(),
        minutes: *values.minutes.get_ref(),
        needs,
        tests: values.tests.iter().map(|test| test.get_ref().clone()).collect(),
        page: values.page.get_ref().clone(),
        man: values.man.iter().map(|page| page.get_ref().clone()).collect(),
        hints,
        dependants: values.dependants.iter().map(|id| id.get_ref().clone()).collect(),
        before: values.before.clone(),
        engine: values.engine.clone(),
        file,
    })
}

fn needs(names: &[String]) -> Result<Vec<Need>> {
    ensure!(!names.is_empty(), "needs is empty: write [\"none\"]");
    let needs = names.iter().map(|name| Need::parse(name)).collect::<Result<Vec<_>>>()?;
    ensure!(needs.len() == 1 || needs.iter().all(Option::is_some), "\"none\" stands alone");
    Ok(needs.into_iter().flatten().collect())
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

/// The regions of a chapter's sources that are exercises.
struct Sources {
    /// `chapters/01-namespaces/src`.
    directory: PathBuf,
    regions: Vec<(PathBuf, Region)>,
}

impl Sources {
    fn read(root: &Path, directory: &str) -> Result<Sources> {
        let below = Path::new("chapters").join(directory).join("src");
        let mut regions = Vec::new();
        for file in super::files(&root.join(&below))? {
            let text = fs::read_to_string(root.join(&below).join(&file))?;
            let name = below.join(&file);
            let found = anchors::regions(&text).map_err(|error| anyhow::anyhow!("{}:{error}", name.display()))?;
            regions.extend(found.into_iter().filter(Region::is_exercise).map(|region| (file.clone(), region)));
        }
        Ok(Sources { directory: below, regions })
    }

    fn find(&self, anchor: &str) -> Result<PathBuf> {
        ensure!(anchor.starts_with(anchors::EXERCISE), "the anchor of an exercise begins with ex-: {anchor:?}");
        let places: Vec<_> = self.regions.iter().filter(|(_, region)| region.name == anchor).collect();
        match places[..] {
            [(file, _)] => Ok(file.clone()),
            [] => bail!("there is no `// ANCHOR: {anchor}` in {}", self.directory.display()),
            [(one, _), (other, _), ..] => bail!("{anchor} is in {} and in {}", one.display(), other.display()),
        }
    }

    /// Every region is somebody's: one that no row names would stay closed without a word.
    fn all_named(&self, exercises: &[Exercise]) -> Result<()> {
        for (file, region) in &self.regions {
            let named = exercises.iter().any(|exercise| exercise.anchor == region.name);
            let place = self.directory.join(file);
            ensure!(named, "{}:{}: no exercise has the anchor {}", place.display(), region.first + 1, region.name);
        }
        Ok(())
    }
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
