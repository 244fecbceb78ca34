//! A virtual machine with Debian's kernel and cgroup v2 alone, for what this machine may not have.
//!
//! It has no disk: one archive in memory holds busybox, the kernel's modules and what is to be run. Software emulation is
//! enough. In reading order:
//!
//! * [`kernel`]: getting the distribution's kernel without installing it.
//! * [`newc`]: writing the archive.
//! * [`system`]: what is in it, and its first process.
//! * [`qemu`]: starting the machine, reading what it says.

mod kernel;
mod newc;
mod qemu;
mod system;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::{Outcome, workspace};

pub use qemu::End;

/// Run a command in a virtual machine with cgroup v2 alone
#[derive(clap::Args)]
pub struct Args {
    /// Kill the machine after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// The command, run by a shell in the machine; the programs of this workspace are in /suite/bin
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// `cargo x vm -- COMMAND`.
pub fn run(args: &Args) -> Outcome {
    let suites = workspace::suites()?;
    workspace::build()?;
    let command = match &args.command[..] {
        [] => "uname -a; cat /sys/fs/cgroup/cgroup.controllers; ls /suite/bin".to_owned(),
        words => words.join(" "),
    };
    let mut print = |line: &str| println!("{line}");
    let machine = Machine { suites, timeout: Duration::from_secs(args.timeout) };
    match machine.run(&command, &mut print)? {
        End::Exited(code) => Ok(code),
        End::Died(why) => anyhow::bail!("{why}"),
    }
}

/// What to boot.
pub struct Machine {
    /// The test program of the suites.
    pub suites: PathBuf,
    /// After this it is killed.
    pub timeout: Duration,
}

impl Machine {
    /// Boots, runs `command` by a shell, hands on each line that it prints, and powers off.
    pub fn run(&self, command: &str, print: &mut dyn FnMut(&str)) -> Result<End> {
        let kernel = kernel::get()?;
        let archive = system::archive(&kernel, &self.suites, command)?;
        qemu::boot(&kernel.image, &archive, self.timeout, print)
    }
}
