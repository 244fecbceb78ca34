//! `minidocker start`.

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::for_each;
use super::run::named;
use crate::attach::{self, Attachment};
use crate::container::{self, Container, mark_starting};
use crate::format::say;
use crate::life;
use crate::monitor;
use crate::monitor::connection::started;
use crate::monitor::packet::Wishes;
use crate::raw_mode::window_size;
use crate::root::Root;
use crate::status::{self, Status};

/// Start stopped containers again.
#[derive(Args)]
pub struct Start {
    /// Show the container's output, and end as it ends
    #[arg(short, long)]
    attach: bool,
    /// Give it our standard input as well
    #[arg(short, long)]
    interactive: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Start) -> Result<i32> {
    container::tidy(root)?;
    if !args.attach && !args.interactive {
        return for_each(&args.containers, |name| {
            start(root, name)?;
            say(name)
        });
    }
    let [name] = args.containers.as_slice() else { anyhow::bail!("only one container can be attached to at a time") };
    let description = Container::find(root, name)?.description()?;
    let signals = attach::hold_signals()?;
    let input = args.interactive && description.interactive;
    let wishes = Wishes { input, output: true, size: window_size() };
    let monitor = begin(root, name, wishes)?.with_context(|| format!("{name} is running already"))?;
    started(&monitor).map_err(|error| named(error, name))?;
    let attachment = Attachment { input, terminal: description.terminal, forward_signals: true };
    attach::attach(&monitor, &signals, attachment)
}

/// Starts a container in the background. One that runs already is left.
pub fn start(root: &Root, name: &str) -> Result<()> {
    if let Some(monitor) = begin(root, name, Wishes::default())? {
        started(&monitor).map_err(|error| named(error, name))?;
    }
    Ok(())
}

/// Starts a container's monitor; `None` if the container runs already, which is no error.
fn begin(root: &Root, name: &str, wishes: Wishes) -> Result<Option<std::os::fd::OwnedFd>> {
    let container = Container::find(root, name)?;
    match status::of(&container)?.0 {
        Status::Running if status::is_paused(&container.description()?) => {
            anyhow::bail!("cannot start {name}: it is paused (minidocker unpause {name})")
        }
        Status::Running => return Ok(None),
        Status::Starting => return Ok(None),
        Status::Unmonitored => anyhow::bail!("{name} runs, but its monitor was killed: stop it first"),
        Status::Lost => life::kill(&container)?, // closes the books
        Status::Created | Status::Exited => {}
    }
    let description = container.description()?;
    for layer in &description.layers {
        ensure!(layer.is_dir(), "cannot start {name}: a layer of its image is gone: {}", layer.display());
    }
    mark_starting(&container)?;
    monitor::summon()?.start(&container, wishes).map(Some)
}
