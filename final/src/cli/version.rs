//! `minidocker version`.

use anyhow::Result;
use clap::Args;
use nix::sys::utsname::uname;

use crate::format::say;

/// Show the versions of the engine and of what it stands on.
#[derive(Args)]
pub struct Version {}

/// Carries the command out.
pub fn run(_: &Version) -> Result<i32> {
    let kernel = uname()?;
    say("minidocker:")?;
    say(format_args!(" Version:      {}", env!("CARGO_PKG_VERSION")))?;
    say(format_args!(" OS/Arch:      linux/{}", std::env::consts::ARCH))?;
    say(format_args!(" Kernel:       {}", kernel.release().to_string_lossy()))?;
    say(" Daemon:       none")?;
    Ok(0)
}
