//! `cargo x verify`: that the tests of exercises test their exercises.
//!
//! For each chapter with a table:
//!
//! 1. the chapter's own program passes all of them, and so does the engine, those which fit it;
//! 2. the starter fails every one, and in the name of its exercise;
//! 3. with one hole open, exactly that exercise's tests fail (and those of its declared dependants);
//! 4. the program of the chapter before, for chapter 1 a plain fork and exec, fails some of every exercise.
//!
//! For the third, the solution is built once with a switch before each region ([`Fill::Switch`]): building a variant for each
//! exercise would take a compiler's time for each, and would prove the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::needs;
use super::sandbox::Sandbox;
use super::starter::{self, Fill};
use super::table::{self, Chapter, Exercise};
use super::trial::{End, Trial};
use crate::test::tally::Tally;
use crate::{Outcome, tools, workspace};

/// `cargo x verify`.
pub fn run() -> Outcome {
    workspace::build()?;
    let mut tally = Tally::default();
    prove(&mut tally)?;
    Ok(tally.verdict())
}

/// All proofs of all chapters. The programs must be built.
pub fn prove(tally: &mut Tally) -> Result<()> {
    let root = workspace::root();
    let sandbox = match Sandbox::open() {
        Ok(sandbox) => sandbox,
        Err(error) => {
            tally.skip("the proofs of the exercises", &format!("{error:#}"));
            return Ok(());
        }
    };
    let trial = Trial::new(&sandbox)?;
    for chapter in table::chapters(&root)? {
        prove_chapter(&root, &trial, &chapter, tally)?;
    }
    Ok(())
}

fn prove_chapter(root: &Path, trial: &Trial<'_>, chapter: &Chapter, tally: &mut Tally) -> Result<()> {
    let mut here = Vec::new();
    for exercise in &chapter.exercises {
        match needs::missing(&exercise.needs) {
            None => here.push(exercise),
            Some(why) => tally.skip(&format!("the proofs of exercise {}", exercise.id), &why),
        }
    }
    let proof = Proof { trial, chapter, exercises: &here };
    let number = chapter.number;

    let ends = proof.all(&format!("ch{number:02}"), "")?;
    skips(&ends, tally, "the solution");
    report(tally, &format!("chapter {number}: the solution passes"), all_pass(&ends));

    let fit: Vec<&Exercise> = here.iter().copied().filter(|exercise| exercise.engine.is_none()).collect();
    if tools::is_root() {
        let ends = Proof { exercises: &fit, ..proof }.all("minidocker", "")?;
        skips(&ends, tally, "the engine");
        report(tally, &format!("chapter {number}: the engine passes"), all_pass(&ends));
    } else {
        tally.skip(&format!("chapter {number}: the engine passes"), "needs root");
    }

    let ends = proof.all(&chapter.program(), "")?;
    report(tally, &format!("chapter {number}: the starter fails"), proof.all_fail(&ends));

    let program = build_switch(root, chapter)?;
    for exercise in &here {
        let ends = proof.all(&program, &exercise.id)?;
        let name = format!("exercise {}: its hole alone fails its tests alone", exercise.id);
        report(tally, &name, proof.only(exercise, &ends));
    }

    let before = if number == 1 { "plain".to_owned() } else { format!("ch{:02}", number - 1) };
    let ends = proof.all(&before, "")?;
    report(tally, &format!("chapter {number}: {before} does not do"), proof.not_before(&before, &ends));
    Ok(())
}

/// One check, with what is wrong line by line.
fn report(tally: &mut Tally, name: &str, wrong: Vec<String>) {
    println!("proof {name} ... {}", if wrong.is_empty() { "ok" } else { "FAILED" });
    tally.report(name, wrong);
}

/// Puts the tests that skipped themselves on record.
fn skips(ends: &BTreeMap<String, End>, tally: &mut Tally, subject: &str) {
    for (test, end) in ends {
        if let End::Skipped(why) = end {
            tally.skip(&format!("{test} with {subject}"), why);
        }
    }
}

fn all_pass(ends: &BTreeMap<String, End>) -> Vec<String> {
    let wrong = ends.iter().filter_map(|(test, end)| match end {
        End::Passed | End::Skipped(_) => None,
        End::Failed(report) => {
            Some(format!("{test} fails: expected {}; observed {}", report.expected, report.observed))
        }
        End::Broken(why) => Some(format!("{test} fails: {why}")),
    });
    wrong.collect()
}

/// A chapter's exercises that can run here.
#[derive(Clone, Copy)]
struct Proof<'a> {
    trial: &'a Trial<'a>,
    chapter: &'a Chapter,
    exercises: &'a [&'a Exercise],
}

impl Proof<'_> {
    fn all(&self, program: &str, blank: &str) -> Result<BTreeMap<String, End>> {
        let tests: Vec<&str> = self.exercises.iter().flat_map(|exercise| &exercise.tests).map(String::as_str).collect();
        if tests.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.trial.run(self.chapter, program, blank, &tests)
    }

    /// Every test fails, and says whose it is.
    fn all_fail(&self, ends: &BTreeMap<String, End>) -> Vec<String> {
        let mut wrong = Vec::new();
        for exercise in self.exercises {
            for test in &exercise.tests {
                match ends.get(test) {
                    Some(End::Passed) => wrong.push(format!("{}: {test} passes with every hole open", exercise.id)),
                    Some(End::Failed(report)) if report.id != exercise.id => {
                        wrong.push(format!("{}: {test} fails in the name of {}", exercise.id, report.id));
                    }
                    Some(End::Broken(why)) => {
                        wrong.push(format!("{}: {test} fails without a report: {why}", exercise.id));
                    }
                    _ => {}
                }
            }
        }
        wrong
    }

    /// With the hole of `blank` alone, its tests fail; others only where they are declared to.
    fn only(&self, blank: &Exercise, ends: &BTreeMap<String, End>) -> Vec<String> {
        let failed = |test: &String| matches!(ends.get(test), Some(End::Failed(_) | End::Broken(_)));
        let mut wrong = Vec::new();
        for exercise in self.exercises {
            let (id, declared) = (&exercise.id, blank.dependants.contains(&exercise.id));
            if exercise.id == blank.id {
                let passing = exercise.tests.iter().filter(|test| ends.get(*test) == Some(&End::Passed));
                wrong.extend(passing.map(|test| format!("{test} passes: it does not test exercise {id}")));
            } else if declared && !exercise.tests.iter().any(failed) {
                wrong.push(format!("{id} is declared a dependant of {} and is none", blank.id));
            } else if !declared {
                let failing = exercise.tests.iter().filter(|test| failed(test));
                let blank = &blank.id;
                wrong.extend(failing.map(|test| format!("{test} of {id} fails too: is {id} a dependant of {blank}?")));
            }
        }
        wrong
    }

    /// Something of every exercise fails with the program before, unless the table says why not.
    fn not_before(&self, program: &str, ends: &BTreeMap<String, End>) -> Vec<String> {
        let mut wrong = Vec::new();
        for exercise in self.exercises {
            let passes = |test: &String| matches!(ends.get(test), Some(End::Passed | End::Skipped(_)));
            match &exercise.before {
                None if exercise.tests.iter().all(passes) => {
                    wrong.push(format!("{}: {program} passes all its tests already", exercise.id));
                }
                Some(_) if !exercise.tests.iter().any(passes) => {
                    wrong.push(format!("{}: {program} passes none of its tests; the table says it does", exercise.id));
                }
                _ => {}
            }
        }
        wrong
    }
}

/// Builds the solution with a switch before each region, in a workspace of its own beside cargo's programs; gives the name
/// of the program. The dependencies are those of the workspace, already built.
fn build_switch(root: &Path, chapter: &Chapter) -> Result<String> {
    let place = workspace::cache("proofs")?;
    let program = format!("proof{:02}", chapter.number);
    let package = format!("proof-{}", chapter.directory);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("read Cargo.toml")?;
    write(&place.join("Cargo.toml"), &workspace_manifest(&manifest, root, &program))?;
    fs::copy(root.join("Cargo.lock"), place.join("Cargo.lock")).context("copy Cargo.lock")?;
    for (path, text) in starter::generate(root, chapter, Fill::Switch)? {
        let text = match path == Path::new("Cargo.toml") {
            // Other names, so that nothing of the learner's is overwritten; the sources know the library by its old one.
            true => text
                .replacen(&format!("name = \"{}\"", chapter.starter_package()), &format!("name = \"{package}\""), 1)
                .replacen("[lib]\n", &format!("[lib]\nname = \"{}\"\n", starter::library(chapter)), 1)
                .replacen(&format!("name = \"{}\"", chapter.program()), &format!("name = \"{program}\""), 1),
            false => text,
        };
        write(&place.join(&program).join(path), &text)?;
    }
    let manifest = place.join("Cargo.toml");
    let target = workspace::bin()?.ancestors().nth(2).context("the target directory")?.to_owned();
    let status = workspace::cargo(&["build", "--quiet", "--offline", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .status()
        .context("start cargo")?;
    ensure!(status.success(), "the solution with switches does not build");
    Ok(program)
}

/// The workspace's manifest, for one member elsewhere.
fn workspace_manifest(text: &str, root: &Path, member: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with("members = ") {
            out += &format!("members = [\"{member}\"]");
        } else if !line.starts_with("default-members = ") {
            out += &line.replace("path = \"", &format!("path = \"{}/", root.display()));
        }
        out.push('\n');
    }
    out
}

/// Writes what is not there yet: an old time of change spares a build.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().context("a directory")?)?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_of_one_member() {
        let text = "[workspace]\nmembers = [\"a/*\"]\ndefault-members = [\"f\"]\nx = { path = \"chapters/x\" }\n";
        assert_eq!(
            workspace_manifest(text, Path::new("/r"), "proof01"),
            "[workspace]\nmembers = [\"proof01\"]\n\nx = { path = \"/r/chapters/x\" }\n"
        );
    }
}
