//! Where starters, attempts and attacks run: a virtual host, never the machine itself.
//!
//! A starter has its holes open. `kill -9 -1`, a fork bomb or a shared mount from an unsolved one would hit the whole machine, so
//! whoever runs any of it opens this first, and goes no further if it cannot be had.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{doctor, tools, workspace};

/// What a program that nobody has looked at yet may use.
const LIMITS: &[&str] = &["--memory", "536870912", "--pids", "256", "--cpus", "1", "--timeout", "240"];

/// Proof that this machine can make virtual hosts.
pub struct Sandbox {
    program: PathBuf,
    bin: PathBuf,
    /// The namespaces and limits that it has, in words.
    pub made_of: String,
}

impl Sandbox {
    /// Makes one for a moment. The programs must be built.
    pub fn open() -> Result<Sandbox> {
        workspace::let_others_in()?;
        let bin = workspace::bin()?;
        let program = bin.join("virtual-host");
        let output = Command::new(&program)
            .args(LIMITS)
            .args(["--announce", "yes", "--leftovers", "ignored", "--", "true"])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("start {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if !output.status.success() {
            let why = said.lines().last().unwrap_or("it says nothing").to_owned();
            bail!("no sandbox here, and nothing runs without one: {why}\n{}", mend());
        }
        Ok(Sandbox { program, bin, made_of: said })
    }

    /// One of our programs in a sandbox of its own, which is not searched for leftovers: they go with it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(LIMITS).args(["--leftovers", "ignored", "--bin"]).arg(&self.bin);
        command.arg("--").arg(format!("/tmp/suite/bin/{program}")).stdin(Stdio::null());
        command
    }
}

/// What to do about it.
fn mend() -> String {
    if tools::is_root() {
        return "You are root, and may still not make namespaces or cgroups: in a container? Run outside of it, start it with \
                --privileged, or work in a virtual machine. cargo x doctor says more."
            .to_owned();
    }
    match doctor::user_namespaces().missing() {
        Some(why) => format!("As an ordinary user it needs user namespaces. {why}. Or become root: sudo -s."),
        None => "Try as root: sudo -s. cargo x doctor says more.".to_owned(),
    }
}
