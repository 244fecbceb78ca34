//! `cargo x test`: every check there is, and one line at the end.
//!
//! In reading order:
//!
//! * here: the steps and the verdict.
//! * [`debian`]: a whole distribution for the suites to pull.
//! * [`machine`]: the suites in a machine with cgroup v2 alone.
//! * [`tally`]: counting what libtest prints.

mod debian;
mod machine;
pub mod tally;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{Outcome, course, tools, workspace};
use tally::Tally;

/// Run all tests
#[derive(clap::Args)]
pub struct Args {
    /// Only tests whose path contains this, of the suites alone
    filter: Option<String>,
    /// Install nothing
    #[arg(long)]
    no_install: bool,
    /// Leave the virtual machine out
    #[arg(long)]
    no_vm: bool,
}

/// `cargo x test`.
pub fn run(args: &Args) -> Outcome {
    let start = Instant::now();
    let mut tally = Tally::default();
    get_tools(args, &mut tally)?;
    if args.filter.is_none() {
        source(&mut tally)?;
    }
    step("building all programs");
    workspace::build()?;
    if args.filter.is_none() {
        step("unit tests");
        let run = ["test", "--workspace", "--exclude", "suite", "--no-fail-fast"];
        listen(&mut workspace::cargo(&run), "unit tests", &mut tally)?;
    }
    if args.filter.is_none() && !args.no_install {
        debian::make()?;
    }
    suites(args, &mut tally)?;
    if args.filter.is_none() {
        course(&mut tally)?;
    }
    if !args.no_vm && args.filter.is_none() {
        machine::run(&mut tally)?;
    }
    println!("\n{} s", start.elapsed().as_secs());
    Ok(tally.verdict())
}

fn step(name: &str) {
    println!("\n== {name}");
}

/// Installs what is missing where that is possible. What is missing then makes tests skip themselves.
fn get_tools(args: &Args, tally: &mut Tally) -> Result<()> {
    let missing = tools::missing();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    step("other people's programs");
    if tools::can_install() && !args.no_install {
        println!("installing {}", packages.join(" "));
        if !tools::install(&packages)? {
            // One that is not to be had must not keep the others away.
            for package in packages {
                tools::install(&[package])?;
            }
        }
    } else {
        println!("to run every test, install: {}", packages.join(" "));
    }
    for tool in tools::missing() {
        tally.note(format!("{} is not installed (package {}): {}", tool.program, tool.package, tool.purpose));
    }
    Ok(())
}

/// The form of the source: rustfmt and clippy, a test each.
fn source(tally: &mut Tally) -> Result<()> {
    let checks: [(&str, &[&str]); 2] = [
        ("fmt", &["fmt", "--all", "--check"]),
        ("clippy", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ];
    for (name, words) in checks {
        step(name);
        let there = workspace::cargo(&[name, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            tally.skip(name, "this toolchain has no such component: rustup component add rustfmt clippy");
            continue;
        }
        let done = workspace::cargo(words).status().with_context(|| format!("start cargo {name}"))?;
        tally.check(name, done.success());
    }
    Ok(())
}

fn suites(args: &Args, tally: &mut Tally) -> Result<()> {
    step("suites");
    let skips = workspace::cache("suite-skips")?.join("here");
    let _ = fs::remove_file(&skips);
    let program = workspace::suites()?;
    let mut command = Command::new(program);
    command.env("SUITE_SKIPS", &skips).stdin(Stdio::null()).current_dir(workspace::root());
    // Tests wait more than they compute; on one core they would also run on libtest's own thread.
    command.args(["--test-threads", &workspace::threads().to_string()]).args(&args.filter);
    listen(&mut command, "suites", tally)?;
    tally.skips_from("", &fs::read_to_string(&skips).unwrap_or_default());
    Ok(())
}

/// The course: what is generated is fresh, what the book shows is true, what exercises prove they prove.
fn course(tally: &mut Tally) -> Result<()> {
    step("starters");
    let root = workspace::root();
    let stale = course::starters::stale(&root)?;
    stale.iter().for_each(|line| println!("{line}"));
    tally.check("starters are fresh (cargo x starters)", stale.is_empty());
    step("the book");
    tally.check("the book (cargo x book --check)", course::book::check()?);
    step("transcripts");
    course::transcripts::prove(&root, tally)?;
    step("proofs of the exercises");
    course::verify::prove(tally)
}

/// Runs a program that prints as libtest does, showing its lines as they come.
fn listen(command: &mut Command, name: &str, tally: &mut Tally) -> Result<()> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("start the {name}"))?;
    let out = child.stdout.take().context("its output")?;
    let mut listener = tally::Listener::default();
    let mut reader = BufReader::new(out);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).context("read")? > 0 {
        listener.hear(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    let status = child.wait().with_context(|| format!("wait for the {name}"))?;
    tally.add(name, listener, status.success());
    Ok(())
}
