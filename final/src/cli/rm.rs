//! `minidocker rm`.

use anyhow::{Context, Result};
use clap::Args;
use namespaces::program::tell;

use super::for_each;
use crate::container::Container;
use crate::discard::empty_bin;
use crate::format::say;
use crate::life::{self, OwnVolumes};
use crate::root::Root;

/// Remove containers.
#[derive(Args)]
pub struct Rm {
    /// Kill those that run; names that do not exist are no error
    #[arg(short, long)]
    force: bool,
    /// Remove the volumes without a name that were made for them as well
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Rm) -> Result<i32> {
    let volumes = if args.volumes { OwnVolumes::Remove } else { OwnVolumes::Keep };
    let code = for_each(&args.containers, |name| {
        let container = match Container::find(root, name) {
            Err(error) if args.force && error.to_string().starts_with("no such container") => {
                tell(format!("minidocker: {error}"));
                return Ok(());
            }
            found => found?,
        };
        life::remove(&container, args.force, volumes).with_context(|| format!("cannot remove {name}"))?;
        say(name)?;
        Ok(())
    });
    let _ = empty_bin(root); // what killed removals have left, which is no matter of these
    code
}
