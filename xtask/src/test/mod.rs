//! `cargo x test`: every check there is, and one line at the end.
//!
//! In reading order:
//!
//! * here: the steps and the verdict.
//! * [`tally`]: counting what libtest prints.

pub mod tally;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{Outcome, course, tools, vm, workspace};
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

/// The suites that the virtual machine runs: what cgroups and the kernel's age have to do with, and what needs no other
/// program.
const IN_THE_MACHINE: &[&str] = &[
    "ch01::",
    "ch02::",
    "ch03::",
    "ch04::",
    "ex01::",
    "world::",
    "limits::",
    "lifecycle::",
    "exec::",
    "sharing::",
    "privileges::",
    "volumes::",
    // Of the attacks those on the kernel: the others meet nothing there that is not here.
    "attacks::calls::",
    "attacks::surfaces::",
];

/// And those that an ordinary user runs there.
const BY_A_USER: &[&str] =
    &["ch01::", "ch02::", "ch03::", "ch04::", "world::ch01", "world::ch02", "world::ch03", "world::ch04"];

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
        debian()?;
    }
    suites(args, &mut tally)?;
    if args.filter.is_none() {
        course(&mut tally)?;
    }
    if !args.no_vm && args.filter.is_none() {
        machine(&mut tally)?;
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

/// A small Debian beside the programs, where the suites find it; made once, and only where a mirror can be reached.
fn debian() -> Result<()> {
    let (tar, part) = (workspace::bin()?.join("debian.tar"), workspace::cache("debian")?.join("part.tar"));
    if tar.exists() || !tools::is_root() || tools::find("mmdebstrap").is_none() {
        return Ok(());
    }
    step("a small Debian");
    // Where root may not make device nodes, as in a container, it must not be asked for any.
    let release = debian_release();
    for mode in ["unshare", "root"] {
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=apt", &format!("--mode={mode}"), &release]).arg(&part);
        if command.stdin(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return fs::rename(&part, &tar).context("put it beside the programs");
        }
    }
    println!("no mirror, or no right: its test is skipped");
    Ok(())
}

/// The release that this machine has, whose keys it knows; `stable` elsewhere.
fn debian_release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_matches('"'));
    match (field("ID="), field("VERSION_CODENAME=")) {
        (Some("debian"), Some(codename)) => codename.to_owned(),
        _ => "stable".to_owned(),
    }
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

/// The suites once more, in a machine with cgroup v2 alone: as root, and as an ordinary user with a cgroup of their own.
fn machine(tally: &mut Tally) -> Result<()> {
    step("suites in a virtual machine with cgroup v2");
    in_machine("the virtual machine", "", IN_THE_MACHINE, tally)?;
    step("suites in a virtual machine, as an ordinary user");
    in_machine("a user of the virtual machine", "SUITE_BY_USER=1", BY_A_USER, tally)
}

/// Boots a machine and runs some suites in it.
fn in_machine(name: &str, environment: &str, suites: &[&str], tally: &mut Tally) -> Result<()> {
    let command = format!(
        "{environment} SUITE_SKIPS=/tmp/skips /suite/bin/deps/suites --test-threads 2 --skip world::runc {}; code=$?; \
         if test -e /tmp/skips; then sed 's/^/@@skip /' /tmp/skips; fi; exit $code",
        suites.join(" ")
    );
    let mut skips = String::new();
    let mut counter = tally::Listener::default();
    let mut hear = |line: &str| {
        match line.strip_prefix("@@skip ") {
            Some(skip) => skips.extend([skip, "\n"]),
            None => counter.hear(line),
        };
    };
    let machine = vm::Machine { suites: workspace::suites()?, timeout: Duration::from_secs(3600) };
    match machine.run(&command, &mut hear) {
        Ok(vm::End::Exited(code)) => tally.add(name, counter, code == 0),
        Ok(vm::End::Died(why)) => {
            println!("{why}");
            tally.add(name, counter, false);
        }
        // No kernel, no QEMU: a test that cannot be run here.
        Err(error) => tally.skip(name, &format!("{error:#}")),
    }
    tally.skips_from(&format!("{name}: "), &skips);
    Ok(())
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
