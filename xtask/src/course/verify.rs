//! `cargo x verify`: that the tests of exercises test their exercises.
//!
//! For each chapter with a table:
//!
//! 1. the chapter's own program passes all of them, and so does the engine, those which fit it;
//! 2. the starter fails every one, and in the name of its exercise;
//! 3. with one hole open, exactly that exercise's tests fail (and those of its declared dependants);
//! 4. the program of the chapter before, for chapter 1 a plain fork and exec, fails some of every exercise.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::needs;
use super::sandbox::Sandbox;
use super::switch;
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

    let program = switch::build(root, chapter)?;
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
