//! `minidocker wait`.

use anyhow::{Context, Result, bail};
use clap::Args;

use super::for_each;
use crate::attach;
use crate::container::Container;
use crate::format::say;
use crate::monitor::connection::ask;
use crate::monitor::packet::Request;
use crate::root::Root;
use crate::status::{self, Status};

/// Wait until containers have ended, and print their exit statuses.
#[derive(Args)]
pub struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Wait) -> Result<i32> {
    for_each(&args.containers, |name| say(until_end(root, name)?))
}

/// The exit status of a container, once it has ended. One that was never started has ended well, as for Docker.
fn until_end(root: &Root, name: &str) -> Result<i32> {
    let container = Container::find(root, name)?;
    let (status, state) = status::of(&container)?;
    match status {
        Status::Created | Status::Exited => return Ok(state.exit_code),
        Status::Unmonitored | Status::Lost => {
            bail!("cannot wait for {name}: its monitor was killed, and how it ends nobody sees")
        }
        Status::Starting | Status::Running => {}
    }
    let told = ask(&container, Request::Wait).and_then(|monitor| attach::wait(&monitor));
    told.or_else(|error| match status::of(&container) {
        // It ended between the two looks.
        Ok((Status::Exited, state)) => Ok(state.exit_code),
        _ => Err(error).with_context(|| format!("cannot wait for {name}")),
    })
}
