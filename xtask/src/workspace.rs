//! Where things are, and calling cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// The directory in which cargo puts programs: this program is one of them.
pub fn bin() -> Result<PathBuf> {
    let own = env::current_exe().context("find this program")?;
    Ok(own.parent().context("this program is in no directory")?.to_owned())
}

/// A directory for what we download and make, beside cargo's own.
pub fn cache(name: &str) -> Result<PathBuf> {
    let bin = bin()?;
    // …/target/TRIPLE/debug
    let target = bin.ancestors().nth(2).context("find the target directory")?;
    let cache = target.join(name);
    std::fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
    Ok(cache)
}

/// `cargo ARGS…` at the root, without input.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// Builds all programs for tests; the book's builder is none of them.
pub fn build() -> Result<()> {
    cargo_build(&["--workspace", "--exclude", "book-builder"])
}

/// Builds for release what the benchmark starts. The chapters are not among it: each takes a minute to optimise.
pub fn build_release() -> Result<()> {
    cargo_build(&["--release", "--package", "minidocker", "--package", "suite"])
}

fn cargo_build(words: &[&str]) -> Result<()> {
    let mut command = cargo(&["build", "--bins"]);
    if !command.args(words).status().context("start cargo")?.success() {
        bail!("the programs do not build");
    }
    Ok(())
}

/// The test program of the suites, built if need be.
pub fn suites() -> Result<PathBuf> {
    let output = cargo(&[
        "test",
        "--package",
        "suite",
        "--test",
        "suites",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ])
    .stderr(Stdio::inherit())
    .output()
    .context("start cargo")?;
    if !output.status.success() {
        bail!("the suites do not build");
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "suites")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo does not say where the suites are")
}

/// How many tests run at once: they wait more than they compute, and on one core would run on libtest's own thread.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
}
