//! `minidocker attach`.

use anyhow::{Context, Result, bail};
use clap::Args;
use namespaces::StartError;

use crate::attach::{self, Attachment};
use crate::container::Container;
use crate::monitor::connection::ask;
use crate::monitor::packet::Request;
use crate::root::Root;
use crate::status::{self, Status};

/// Connect with a running container's main process. Ctrl-P Ctrl-Q leaves it.
#[derive(Args)]
pub struct Attach {
    /// Do not give it our standard input
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to it
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    /// Its name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Carries the command out: ends as the container ends.
pub fn run(root: &Root, args: &Attach) -> Result<i32> {
    let name = &args.container;
    let container = Container::find(root, name)?;
    match status::of(&container)?.0 {
        Status::Running => {}
        Status::Unmonitored => bail!("{name} runs, but its monitor was killed: nobody reads what it prints"),
        _ => return Err(StartError::new(1, None, format!("container {name} is not running: start it first")).into()),
    }
    let description = container.description()?;
    let input = description.interactive && !args.no_stdin;
    let asked = ask(&container, Request::Attach { input, output: true });
    let monitor = asked.with_context(|| format!("cannot attach to {name}"))?;
    let signals = attach::hold_signals()?;
    let attachment = Attachment { input, terminal: description.terminal, forward_signals: args.sig_proxy };
    attach::attach(&monitor, &signals, attachment)
}
