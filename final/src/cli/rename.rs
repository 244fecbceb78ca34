//! `minidocker rename`.

use anyhow::{Context, Result};
use clap::Args;

use crate::container::Container;
use crate::root::Root;

/// Give a container another name.
#[derive(Args)]
pub struct Rename {
    /// Its name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The new name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Rename) -> Result<i32> {
    let container = Container::find(root, &args.container)?;
    let name = args.name.strip_prefix('/').unwrap_or(&args.name);
    container.rename(name).with_context(|| format!("cannot rename {}", args.container))?;
    Ok(0)
}
