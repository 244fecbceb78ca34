//! Running tests of exercises against a program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};

use super::report::{self, Report};
use super::sandbox::Sandbox;
use super::starter::BLANK;
use super::table::Chapter;
use crate::workspace;

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It passed.
    Passed,
    /// It failed, and says why in the words of its exercise.
    Failed(Report),
    /// It failed without a report: the harness did, or the machine.
    Broken(String),
    /// It could not be made.
    Skipped(String),
}

/// The test program, and the sandbox without which it is not started.
pub struct Trial<'a> {
    suites: PathBuf,
    /// That it could be opened is what we need of it: each test opens its own.
    _sandbox: &'a Sandbox,
}

impl<'a> Trial<'a> {
    /// Builds the tests.
    pub fn new(sandbox: &'a Sandbox) -> Result<Trial<'a>> {
        Ok(Trial { suites: workspace::suites()?, _sandbox: sandbox })
    }

    /// Runs some tests of a chapter against `program` (below the directory of programs), with these holes open.
    pub fn run(&self, chapter: &Chapter, program: &str, blank: &str, tests: &[&str]) -> Result<BTreeMap<String, End>> {
        // What was built since.
        workspace::let_others_in()?;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let skips = workspace::cache("suite-skips")?.join(format!("trial-{}-{number}", std::process::id()));
        let output = Command::new(&self.suites)
            .args(tests)
            .args(["--exact", "--test-threads", &workspace::threads().to_string()])
            .env(chapter.subject_variable(), program)
            .env(BLANK, blank)
            .env("SUITE_SKIPS", &skips)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .current_dir(workspace::root())
            .output()
            .context("start the tests")?;
        let skipped = fs::read_to_string(&skips).unwrap_or_default();
        let _ = fs::remove_file(&skips);
        ends(tests, &String::from_utf8_lossy(&output.stdout), &skipped)
    }
}

/// Reads what libtest printed, the harness's reports within it, and the record of skips.
fn ends(tests: &[&str], output: &str, skipped: &str) -> Result<BTreeMap<String, End>> {
    let reports = report::reports(output);
    let skipped: BTreeMap<&str, &str> = skipped.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut ends = BTreeMap::new();
    for test in tests {
        let line = |end: &str| output.lines().any(|line| line == format!("test {test} ... {end}"));
        let end = if let Some(why) = skipped.get(test) {
            End::Skipped((*why).to_owned())
        } else if line("ok") {
            End::Passed
        } else if let Some(report) = reports.iter().find(|report| report.test == *test) {
            End::Failed(report.clone())
        } else if line("FAILED") {
            End::Broken(section(output, test))
        } else {
            bail!("the test {test} did not run:\n{}", output.trim());
        };
        ends.insert((*test).to_owned(), end);
    }
    Ok(ends)
}

/// What libtest shows of a test that failed.
fn section(output: &str, test: &str) -> String {
    let lines = output.lines().skip_while(|line| *line != format!("---- {test} stdout ----")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("---- ") && *line != "failures:");
    lines.filter(|line| !line.is_empty() && !line.starts_with("note: ")).collect::<Vec<_>>().join("\n")
}

/// Builds one package; an error shows the compiler's first complaint, with its file.
pub fn build(package: &str) -> Result<()> {
    use std::io::IsTerminal;
    let format = match std::io::stdout().is_terminal() {
        true => "--message-format=json-diagnostic-rendered-ansi",
        false => "--message-format=json",
    };
    let output = workspace::cargo(&["build", "--quiet", "--package", package, format])
        .stderr(Stdio::piped())
        .output()
        .context("start cargo")?;
    if output.status.success() {
        return Ok(());
    }
    let complaints = complaints(&String::from_utf8_lossy(&output.stdout));
    let Some(first) = complaints.first() else {
        bail!("{package} does not build: {}", String::from_utf8_lossy(&output.stderr).trim());
    };
    let more = match complaints.len() {
        1 => String::new(),
        count => format!("\n(and {} more; this one first)", count - 1),
    };
    bail!("{package} does not compile:\n\n{}{more}", first.trim_end())
}

/// The compiler's errors, as it shows them to people.
fn complaints(json: &str) -> Vec<String> {
    json.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-message" && message["message"]["level"] == "error")
        .filter(|message| message["message"]["spans"].as_array().is_some_and(|spans| !spans.is_empty()))
        .filter_map(|message| message["message"]["rendered"].as_str().map(str::to_owned))
        .collect()
}

/// Builds what tests of exercises start besides the program under test: the harness.
pub fn build_harness(root: &Path) -> Result<()> {
    ensure!(root.join("tests/Cargo.toml").exists(), "no tests in {}", root.display());
    let status = workspace::cargo(&["build", "--quiet", "--bins", "--package", "suite"]).status();
    ensure!(status.context("start cargo")?.success(), "the harness of the tests does not build");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        let output = "running 4 tests\ntest ex01::a ... ok\ntest ex01::b ... FAILED\ntest ex01::c ... FAILED\n\
                      test ex01::d ... ok\n\nfailures:\n\n---- ex01::b stdout ----\n\
                      @@exercise {\"id\":\"1.1\",\"test\":\"ex01::b\",\"expected\":\"e\",\"observed\":\"o\",\"means\":\"m\"}\n\n\
                      ---- ex01::c stdout ----\nno such thing\n\nfailures:\n    ex01::b\n";
        let tests = ["ex01::a", "ex01::b", "ex01::c", "ex01::d"];
        let ends = ends(&tests, output, "ex01::d\tno root\n").unwrap();
        assert_eq!(ends["ex01::a"], End::Passed);
        assert!(matches!(&ends["ex01::b"], End::Failed(report) if report.means == "m"));
        assert_eq!(ends["ex01::c"], End::Broken("no such thing".into()));
        assert_eq!(ends["ex01::d"], End::Skipped("no root".into()));
    }

    #[test]
    fn a_test_that_did_not_run_has_not_passed() {
        assert!(ends(&["ex01::a"], "running 0 tests\n", "").is_err());
    }

    #[test]
    fn the_compilers_first_error_is_shown() {
        let message = |level: &str, text: &str, spans: &str| {
            format!(
                r#"{{"reason":"compiler-message","message":{{"level":"{level}","rendered":"{text}","spans":[{spans}]}}}}"#
            )
        };
        let all =
            [message("warning", "w", "1"), message("error", "aborting", ""), message("error", "e", "1")].join("\n");
        assert_eq!(complaints(&all), ["e"]);
    }
}
