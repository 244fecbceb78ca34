//! `minidocker rename`.

use anyhow::{Context, Result};
use clap::Args;

use crate::container::Container;
use crate::monitor::connection::Connection;
use crate::monitor::packet::Request;
use crate::root::Root;
use crate::status::{self, Status};

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
    if status::of(&container)?.0 == Status::Running {
        // It will give the name back in the end.
        let told = Connection::with(&container).and_then(|monitor| monitor.request(Request::Rename(name.to_string())));
        told.with_context(|| format!("{} is called {name} now, and its monitor does not know", args.container))?;
    }
    Ok(0)
}
