//! `minidocker restart`.

use anyhow::{Context, Result};
use clap::Args;

use super::describe::signal_number;
use super::for_each;
use super::stop::patience;
use crate::container::Container;
use crate::format::say;
use crate::life;
use crate::root::Root;

/// Stop containers and start them again.
#[derive(Args)]
pub struct Restart {
    /// Seconds to wait before killing; -1 waits for ever [default: the container's, 10]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Ask with this signal [default: the container's]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Restart) -> Result<i32> {
    let signal = args.signal.as_deref().map(signal_number).transpose()?;
    for_each(&args.containers, |name| {
        let container = Container::find(root, name)?;
        life::stop(&container, args.time.map(patience), signal).with_context(|| format!("cannot stop {name}"))?;
        super::start::start(root, name)?;
        say(name)
    })
}
