//! `minidocker version`.

use anyhow::Result;
use clap::Args;
use nix::sys::utsname::uname;

/// Show the versions of the engine and of what it stands on.
#[derive(Args)]
pub struct Version {}

/// Carries the command out.
pub fn run(_: &Version) -> Result<i32> {
    let kernel = uname()?;
    println!("minidocker:");
    println!(" Version:      {}", env!("CARGO_PKG_VERSION"));
    println!(" OS/Arch:      linux/{}", std::env::consts::ARCH);
    println!(" Kernel:       {}", kernel.release().to_string_lossy());
    println!(" Daemon:       none");
    Ok(0)
}
