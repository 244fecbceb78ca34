//! A row of the table: what may stand in it, and what is wrong where something else does.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;
use toml::Spanned;

use super::needs::Need;
use super::sources::Sources;
use super::table::Exercise;

/// Longer titles do not fit into a line of the runner, nor into a stub.
const LONGEST_TITLE: usize = 60;

/// A file under examination.
pub struct Place<'a> {
    /// Relative to the root.
    pub path: &'a Path,
    /// What is in it.
    pub text: &'a str,
}

impl Place<'_> {
    /// The complaint about a part of it, with the line in which that begins.
    pub fn fail<T>(&self, span: Range<usize>, what: impl std::fmt::Display) -> Result<T> {
        let line = self.text[..span.start.min(self.text.len())].matches('\n').count() + 1;
        bail!("{}:{line}: {what}", self.path.display())
    }
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
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

/// The exercise of a row of a chapter's table, after those `before` it.
pub fn exercise(
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
