//! `cargo x bench`: whole commands, side by side with those of the engines installed here, in one run.
//!
//! In reading order:
//!
//! * here: the release build, a virtual host around it all, and what is measured.
//! * [`stage`]: a root, an image, a registry, a context to build.
//! * [`peers`]: how each engine spells each command.
//! * [`rounds`]: interleaved runs, medians and the table.
//!
//! What takes turns within one round is slowed by the same neighbours: the ratios mean more than the times. Each run begins
//! on a machine that has come to rest, as when somebody types the command.

mod peers;
mod rounds;
mod stage;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{Outcome, tools, workspace};
use peers::Peer;
use rounds::{Operation, Table};
use stage::Stage;

/// Measure whole commands beside those of the engines installed here
#[derive(clap::Args)]
pub struct Args {
    /// Write all numbers to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds of the quick operations; the slow ones have a fifth
    #[arg(long, value_name = "N", default_value_t = 30)]
    rounds: usize,
    /// Only operations whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Set by the program itself: already in the virtual host
    #[arg(long, hide = true, value_name = "DIR")]
    inside: Option<PathBuf>,
}

/// `cargo x bench`.
pub fn run(args: &Args) -> Outcome {
    match &args.inside {
        None => outside(args),
        Some(bin) => inside(args, bin),
    }
}

/// Builds, and starts this program again in a virtual host with the new programs.
fn outside(args: &Args) -> Outcome {
    if !tools::is_root() {
        bail!("the benchmark needs root: networks and limits are what is measured");
    }
    eprintln!("building for release");
    workspace::build_release()?;
    let debug = workspace::bin()?;
    let triple = debug.parent().context("find the target directory")?;
    let release = triple.join("release");
    let report = workspace::cache("bench")?.join("report.json");
    let mut command = Command::new(release.join("virtual-host"));
    // Other engines keep daemons, locks and rules, which end with the virtual host. Ours is asked in the suites.
    command.args(["--timeout", "3600", "--memory", "8589934592", "--pids", "8192", "--leftovers", "ignored"]);
    command
        .arg("--bin")
        .arg(&release)
        .arg("--keep")
        .arg(triple)
        .arg("--keep")
        .arg(workspace::cache("bench")?)
        .arg("--");
    command.arg(std::env::current_exe()?).args(["bench", "--inside", "/tmp/suite/bin"]);
    command.args(["--rounds", &args.rounds.to_string()]).arg("--json").arg(&report);
    if let Some(only) = &args.only {
        command.args(["--only", only]);
    }
    let status = command.stdin(Stdio::null()).status().context("start the virtual host")?;
    if let (true, Some(wanted)) = (status.success(), &args.json) {
        std::fs::copy(&report, wanted).with_context(|| format!("write {}", wanted.display()))?;
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn inside(args: &Args, bin: &Path) -> Outcome {
    let stage = Stage::set(bin)?;
    let (peers, missing) = Peer::all(&stage);
    let mut table = Table::default();
    for operation in Operation::ALL {
        if args.only.as_ref().is_none_or(|only| operation.name().contains(only.as_str())) {
            let rounds = if operation.is_quick() { args.rounds } else { args.rounds.div_ceil(5) };
            table.measure(*operation, &peers, &stage, rounds)?;
        }
    }
    println!("{}", table.text());
    for (name, why) in missing {
        println!("not measured: {name} ({why})");
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&table.json())?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(0)
}

/// Runs a command that must succeed; its output comes back, its errors go into the error.
fn must(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, said.trim().lines().last().unwrap_or("no word"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
