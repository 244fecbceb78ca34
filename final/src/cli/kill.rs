//! `minidocker kill`.

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sys::signal::Signal;

use super::describe::signal_number;
use super::for_each;
use crate::container::Container;
use crate::format::say;
use crate::life;
use crate::root::Root;
use crate::status;

/// Send containers a signal.
#[derive(Args)]
pub struct Kill {
    /// Which one, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Kill) -> Result<i32> {
    let signal = signal_number(&args.signal)?;
    for_each(&args.containers, |name| {
        let container = Container::find(root, name)?;
        send(&container, signal).with_context(|| format!("cannot kill {name}"))?;
        say(name)?;
        Ok(())
    })
}

/// Sends a signal. SIGKILL leaves no doubt about the outcome, so that is waited for: `kill x && rm x` works.
fn send(container: &Container, signal: i32) -> Result<()> {
    if signal != Signal::SIGKILL as i32 {
        return life::signal(container, signal);
    }
    ensure!(status::of(container)?.0.is_running(), "the container is not running");
    life::kill(container)
}
