//! Where things are, and calling cargo.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
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
    fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
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
    let suites = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "suites")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo does not say where the suites are")?;
    let_all_read(&suites)?;
    let_others_in()?;
    Ok(suites)
}

/// Lets every user start the programs that are built: the suites have an ordinary one, and cargo writes under the umask of
/// whoever calls it, which may be 077.
pub fn let_others_in() -> Result<()> {
    let bin = bin()?;
    for entry in fs::read_dir(&bin).with_context(|| format!("list {}", bin.display()))? {
        let entry = entry?;
        let mode = entry.metadata()?.permissions().mode();
        if entry.file_type()?.is_file() && mode & 0o100 != 0 {
            let_all_read(&entry.path())?;
        }
    }
    let_all_read(&bin.join("deps"))?;
    let_all_read(&bin)
}

/// `chmod go+rx`, where that changes anything.
fn let_all_read(path: &Path) -> Result<()> {
    const ALL: u32 = 0o055;
    let mode = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.permissions().mode();
    if mode & ALL != ALL {
        let open = fs::Permissions::from_mode(mode | ALL);
        fs::set_permissions(path, open).with_context(|| format!("let others read {}", path.display()))?;
    }
    Ok(())
}

/// All files below a directory, relative to it, sorted.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let path = directory.join(&below);
        for entry in fs::read_dir(&path).with_context(|| format!("list {}", path.display()))? {
            let entry = entry?;
            let name = below.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => waiting.push(name),
                false => found.push(name),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// How many tests run at once: they wait more than they compute, and on one core would run on libtest's own thread.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
}
