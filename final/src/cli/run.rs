//! `minidocker run`: from an image and options to a container, and to its exit status.

use std::io::IsTerminal;

use anyhow::Result;
use clap::Args;
use namespaces::StartError;

use super::create;
use super::options::Options;
use crate::attach::{self, Attachment};
use crate::format::say;
use crate::monitor::Summoned;
use crate::monitor::connection::started;
use crate::monitor::packet::Wishes;
use crate::raw_mode::window_size;
use crate::root::Root;

/// Make a container of an image and run a command in it.
///
/// The image is pulled if it is not there. The image `demo` is made on the spot, of this machine's own programs.
#[derive(Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct Run {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,

    #[command(flatten)]
    options: Options,
}

const EXAMPLES: &str = "\
Examples:
  minidocker run --rm -it demo
  minidocker run --rm -v $PWD:/src -w /src debian make
  minidocker run -d --name db -m 512m --cpus 1.5 -p 127.0.0.1:5432:5432 postgres";

/// Carries the command out.
pub fn run(root: &Root, args: Run, monitor: Summoned) -> Result<i32> {
    let options = &args.options;
    let terminal = options.tty;
    if terminal && options.interactive && !args.detach && !std::io::stdin().is_terminal() {
        return Err(StartError::new(1, None, "the input device is not a TTY (leave -t out to pipe input in)").into());
    }
    let (container, description) = create::make(root, options)?;

    let signals = (!args.detach).then(attach::hold_signals).transpose()?;
    let wishes = Wishes {
        input: options.interactive && !args.detach,
        output: !args.detach,
        size: if terminal { window_size() } else { Default::default() },
    };
    let monitor = monitor.start(&container, wishes)?;
    started(&monitor).map_err(|error| named(error, &description.name))?;
    let Some(signals) = signals else {
        say(container.id())?;
        return Ok(0);
    };
    let attachment = Attachment { input: options.interactive, terminal, forward_signals: true };
    attach::attach(&monitor, &signals, attachment)
}

/// Says which container an error is about, and keeps the exit status that it carries.
pub fn named(error: anyhow::Error, name: &str) -> anyhow::Error {
    error.context(format!("cannot start {name}"))
}
