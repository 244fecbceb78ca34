//! `minidocker restart`.

use anyhow::Result;
use clap::Args;

use super::for_each;
use super::stop::Stop;
use crate::format::say;
use crate::root::Root;

/// Stop containers and start them again.
#[derive(Args)]
pub struct Restart {
    // It takes the same words, and does the same first.
    #[command(flatten)]
    stop: Stop,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Restart) -> Result<i32> {
    let how = args.stop.how()?;
    for_each(&args.stop.containers, |name| {
        how.stop(root, name)?;
        super::start::start(root, name)?;
        say(name)
    })
}
