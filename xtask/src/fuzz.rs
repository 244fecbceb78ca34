//! `cargo x fuzz`: random input for whatever reads what strangers wrote.
//!
//! The targets are in the package `fuzz`, laid out for cargo-fuzz. That program needs a nightly compiler; all that it would
//! ask of it is to count which edges of the program an input reaches (LLVM's SanitizerCoverage), and a stable one can be asked
//! for that by name. Linking libFuzzer takes a C++ compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{Outcome, workspace};

/// Coverage counters on each edge, and comparisons shown to libFuzzer; and what we build with is checked arithmetic, since the
/// profile is `dev`.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Give a fuzz target random input
#[derive(clap::Args)]
pub struct Args {
    /// The target; without one they are listed
    target: Option<String>,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
}

/// `cargo x fuzz`.
pub fn run(args: &Args) -> Outcome {
    let targets = targets()?;
    let Some(target) = &args.target else {
        println!("{}", targets.join("\n"));
        return Ok(0);
    };
    ensure!(targets.contains(target), "no fuzz target {target:?} (there are: {})", targets.join(", "));
    let cache = workspace::cache("fuzz")?;
    // Programs with counters in them are others: they must not push ours out of the target directory.
    let build = cache.join("build");
    let done = workspace::cargo(&["build", "--package", "fuzz", "--features", "libfuzzer", "--bin", target])
        .arg("--target-dir")
        .arg(&build)
        .env("RUSTFLAGS", FLAGS)
        .status()
        .context("start cargo")?;
    ensure!(done.success(), "the target does not build (libFuzzer needs a C++ compiler: g++ or clang)");
    let program = program(&build, target)?;
    let (corpus, failures) = (cache.join("corpus").join(target), cache.join("failures"));
    for directory in [&corpus, &failures] {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    }
    let seeds = workspace::root().join("fuzz/seeds").join(target);
    let status = Command::new(program)
        .arg(format!("-max_total_time={}", args.seconds))
        .arg(format!("-artifact_prefix={}/{target}-", failures.display()))
        .args(["-max_len=32768", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"])
        .args([&corpus, &seeds])
        .status()
        .context("start the target")?;
    if !status.success() {
        println!("when it is mended, keep the input that failed in {}", seeds.display());
    }
    Ok(u8::from(!status.success()))
}

/// The names of the targets: each has its seeds.
fn targets() -> Result<Vec<String>> {
    let seeds = workspace::root().join("fuzz/seeds");
    let found = fs::read_dir(&seeds).with_context(|| format!("read {}", seeds.display()))?;
    let mut names: Vec<String> = found.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Where cargo puts the program: below the name of the machine that it is for, as this one (`.cargo/config.toml` names it).
fn program(build: &Path, target: &str) -> Result<PathBuf> {
    let bin = workspace::bin()?;
    let parent = bin.ancestors().nth(2).context("find the target directory")?;
    Ok(build.join(bin.strip_prefix(parent)?).join(target))
}
