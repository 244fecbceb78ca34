//! `minidocker kill`.

use anyhow::{Context, Result};
use clap::Args;

use super::for_each;
use super::run::signal_number;
use crate::container::Container;
use crate::format::say;
use crate::life;
use crate::root::Root;

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
        life::signal(&container, signal).with_context(|| format!("cannot kill {name}"))?;
        say(name)?;
        Ok(())
    })
}
