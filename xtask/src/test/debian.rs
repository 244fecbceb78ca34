//! A whole distribution for the suites to pull, made where that is possible.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{tools, workspace};

/// A small Debian beside the programs, where the suites find it; made once, and only where a mirror can be reached.
pub fn make() -> Result<()> {
    let (tar, part) = (workspace::bin()?.join("debian.tar"), workspace::cache("debian")?.join("part.tar"));
    if tar.exists() || !tools::is_root() || tools::find("mmdebstrap").is_none() {
        return Ok(());
    }
    super::step("a small Debian");
    // Where root may not make device nodes, as in a container, it must not be asked for any.
    let release = release();
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
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_matches('"'));
    match (field("ID="), field("VERSION_CODENAME=")) {
        (Some("debian"), Some(codename)) => codename.to_owned(),
        _ => "stable".to_owned(),
    }
}
