//! From the test program of cargo into a virtual host and back.

use std::any::type_name_of_val;
use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use crate::image::Images;
use crate::ordinary;
use crate::program::UID;

/// Set inside a virtual host.
const INSIDE: &str = "SUITE_INSIDE";
/// Has the tests run by an ordinary user, to whom a cgroup was delegated where there is v2 alone.
const BY_USER: &str = "SUITE_BY_USER";
/// A file that gets one line for each skipped test, set by `cargo x test`.
const SKIPS: &str = "SUITE_SKIPS";
/// Printed when the test has begun: a filter that matches nothing makes libtest say "ok" as well.
const BEGUN: &str = "@@begun";
/// Printed before the reason of a skip.
const SKIPPED: &str = "@@skipped ";
/// Exit codes; the others are in the program `virtual-host`.
const SKIPPED_CODE: i32 = 94;
const UNABLE_CODE: i32 = 95;

/// The machine that a test runs on, seen from inside.
pub struct Host {
    pub(crate) images: Images,
}

impl Host {
    /// For programs other than tests that a virtual host runs.
    pub fn inside() -> Host {
        Host { images: Images::default() }
    }

    /// The test's own scratch directory, where it also starts; gone when the test ends.
    pub fn work(&self) -> &Path {
        Path::new("/tmp/suite/work")
    }

    /// The engine's `MINIDOCKER_ROOT`.
    pub fn root(&self) -> &Path {
        Path::new("/tmp/suite/root")
    }

    /// The home of the ordinary user.
    pub fn home(&self) -> &Path {
        Path::new("/tmp/suite/home")
    }

    /// A program of this workspace. Panics when it is not built.
    pub fn bin(&self, name: &str) -> PathBuf {
        let path = Path::new("/tmp/suite/bin").join(name);
        assert!(path.exists(), "{name} is not built: cargo build --workspace --bins, or run all by cargo x test");
        path
    }

    /// Whether a program is installed on this machine.
    pub fn has(&self, tool: &str) -> bool {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|directory| directory.join(tool).exists())
    }

    /// Skips the test unless a program is installed.
    pub fn needs(&self, tool: &str) {
        if !self.has(tool) {
            skip(&format!("needs {tool}, which is not installed"));
        }
    }

    /// Whether this machine has cgroup v2 alone.
    pub fn cgroup2(&self) -> bool {
        Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
    }
}

/// Runs `test` in a virtual host of its own; called first and only in a `#[test]`.
///
/// The test program is started again inside with this test alone, found by the name of the closure's type
/// (`suites::ch01::own_host_name::{{closure}}`).
pub fn host<F: FnOnce(&Host)>(test: F) {
    let name = name_of(&test);
    if env::var_os(INSIDE).is_none() && !nix::unistd::geteuid().is_root() {
        // An ordinary user's virtual host will do for exercises; the suites ask for what only root has.
        return note_skip(name, "no virtual host here: the suites need root");
    }
    if env::var_os(BY_USER).is_none() {
        return in_host(name, &[], test);
    }
    match ordinary::cannot(name) {
        Some(reason) => note_skip(name, reason),
        None => in_host(name, &["--user", &UID.to_string()], test),
    }
}

/// The path of the test that a closure was written in, as libtest has it: `ch01::own_host_name`.
pub(crate) fn name_of<F>(test: &F) -> &'static str {
    let name = type_name_of_val(test);
    let name = name.split_once("::").map_or(name, |(_, rest)| rest);
    name.trim_end_matches("::{{closure}}")
}

/// [`host`] for a test of this name, with options for the program `virtual-host`.
pub(crate) fn in_host<F: FnOnce(&Host)>(name: &str, options: &[&str], test: F) {
    if env::var_os(INSIDE).is_some() {
        println!("\n{BEGUN}");
        let host = Host::inside();
        test(&host);
        host.reset();
        return;
    }
    let executable = env::current_exe().expect("the path of this test program");
    let deps = executable.parent().expect("a directory");
    let bin = deps.parent().expect("the directory of programs");
    let inner = Path::new("/tmp/suite/bin").join(executable.strip_prefix(bin).expect("a path below"));
    let virtual_host = bin.join("virtual-host");
    let output = Command::new(&virtual_host)
        // Seconds after which a test is hung. Most take one; the longest two dozen, and several times that where all is slow.
        .args(["--timeout", "600"])
        .args(options)
        .arg("--bin")
        .arg(bin)
        .arg("--")
        .arg(inner)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        // Snapshots stand in the source; nothing is looked for or written at run time.
        .env("INSTA_WORKSPACE_ROOT", "/")
        .env("INSTA_UPDATE", "no")
        .env("INSTA_FORCE_PASS", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", virtual_host.display()));
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(SKIPPED_CODE) => {
            let reason = out.lines().find_map(|line| line.strip_prefix(SKIPPED)).unwrap_or("no reason given");
            note_skip(name, reason);
        }
        Some(UNABLE_CODE) => note_skip(name, &format!("no virtual host here: {}", err.trim())),
        Some(0) if out.lines().any(|line| line == BEGUN) => {}
        Some(0) => panic!("{name} did not begin in its virtual host:\n{out}{err}"),
        _ => {
            for line in out.lines().chain(err.lines()).filter(|line| !is_frame(line, name)) {
                println!("{line}");
            }
            panic!("{name} failed in its virtual host ({})", output.status);
        }
    }
}

/// Whether libtest has printed a line around the test rather than in it: whoever counts such lines would count twice.
fn is_frame(line: &str, name: &str) -> bool {
    let frame = ["running ", "test ", "test result: ", "failures:", BEGUN, "FAILED"];
    line.is_empty() || line.trim() == name || frame.iter().any(|start| line.starts_with(start))
}

/// Ends this test without a verdict. Called inside a virtual host.
pub fn skip(reason: &str) -> ! {
    println!("\n{SKIPPED}{reason}");
    process::exit(SKIPPED_CODE)
}

/// libtest knows no skipping at run time: the test counts as passed there, and here it is put on record.
fn note_skip(name: &str, reason: &str) {
    println!("skipped {name}: {reason}");
    if let Some(path) = env::var_os(SKIPS) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the file for skips");
        // One write: several tests write at once.
        file.write_all(format!("{name}\t{reason}\n").as_bytes()).expect("write to the file for skips");
    }
}
