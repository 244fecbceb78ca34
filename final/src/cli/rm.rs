//! `minidocker rm`.

use anyhow::{Context, Result};
use clap::Args;

use super::for_each;
use crate::container::Container;
use crate::format::say;
use crate::life;
use crate::root::Root;

/// Remove containers.
#[derive(Args)]
pub struct Rm {
    /// Kill those that run; names that do not exist are no error
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Rm) -> Result<i32> {
    for_each(&args.containers, |name| {
        let container = match Container::find(root, name) {
            Err(error) if args.force && error.to_string().starts_with("no such container") => {
                eprintln!("minidocker: {error}");
                return Ok(());
            }
            found => found?,
        };
        life::remove(&container, args.force).with_context(|| format!("cannot remove {name}"))?;
        say(name)?;
        Ok(())
    })
}
