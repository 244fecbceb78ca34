//! `minidocker exec`.

use std::io::IsTerminal;

use anyhow::{Result, anyhow, bail, ensure};
use clap::Args;
use namespaces::StartError;
use namespaces::failure::{CANNOT_EXECUTE, ENGINE_FAILED};

use crate::attach::{self, Attachment};
use crate::container::Container;
use crate::exec::{ExecDescription, REFUSED};
use crate::monitor::connection::ask;
use crate::monitor::packet::Request;
use crate::raw_mode::window_size;
use crate::root::Root;
use crate::status::{self, Status};

/// Run another command in a running container.
#[derive(Args)]
#[command(args_override_self = true)]
pub struct Exec {
    /// Do not wait for it, nor show what it prints
    #[arg(short, long)]
    detach: bool,
    /// Set an environment variable
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Give it our standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Run it as this user [default: the container's]
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    user: Option<String>,
    /// Start in this directory [default: the container's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Give it all capabilities
    #[arg(long)]
    privileged: bool,
    /// The container, and the command with its arguments
    // One list, so that whatever follows the container is the command's own, flags included.
    #[arg(trailing_var_arg = true, required = true, num_args = 2.., value_names = ["CONTAINER", "COMMAND"])]
    words: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: Exec) -> Result<i32> {
    let Some((name, command)) = args.words.split_first() else { bail!("no container was named") };
    let interactive = args.interactive && !args.detach;
    if args.tty && interactive && !std::io::stdin().is_terminal() {
        return Err(StartError::new(1, None, "the input device is not a TTY (leave -t out to pipe input in)").into());
    }
    if let Some(workdir) = &args.workdir {
        ensure!(workdir.starts_with('/'), "the working directory {workdir:?} is not an absolute path");
    }
    let container = Container::find(root, name).map_err(|error| refused(format!("{error:#}")))?;
    let exec = ExecDescription {
        argv: command.to_vec(),
        env: args.env.iter().map(|entry| whole(entry)).collect::<Result<_>>()?,
        cwd: args.workdir,
        // `-u ""`, a script's unset variable, is no wish: the container's user, and not root.
        user: args.user.filter(|user| !user.is_empty()),
        interactive,
        terminal: args.tty.then(window_size),
        privileged: args.privileged,
    };
    let asked = ask(&container, Request::Exec(Box::new(exec)));
    let monitor = asked.map_err(|error| explained(error, &container, name))?;
    if args.detach {
        return Ok(0);
    }
    // Not before: until its process runs, a signal means us, and a container that is stopped may keep us waiting.
    let signals = attach::hold_signals()?;
    let attachment = Attachment { input: interactive, terminal: args.tty, forward_signals: true };
    attach::attach(&monitor, &signals, attachment)
}

fn refused(text: String) -> anyhow::Error {
    StartError::new(REFUSED, None, text).into()
}

/// Why it was not executed. Whoever has a monitor that answers runs: so it is only now that we look how the container is.
///
/// Docker's exit status for whatever keeps the command from being executed is 126, a user that is not there included;
/// there is no 125.
fn explained(error: anyhow::Error, container: &Container, name: &str) -> anyhow::Error {
    let answered = error.downcast_ref::<StartError>().is_some();
    if !answered {
        match status::of(container) {
            Ok((Status::Unmonitored, _)) => {
                return anyhow!("{name} runs, but its monitor was killed: nothing can be executed in it");
            }
            Ok((status, _)) if !status.is_running() => return refused(format!("container {name} is not running")),
            _ => {}
        }
    }
    let mut error = StartError::from(&error);
    match error.code {
        REFUSED => return refused(format!("container {name} {error}")),
        ENGINE_FAILED => error.code = CANNOT_EXECUTE,
        _ => {}
    }
    anyhow::Error::new(error).context(format!("cannot execute it in {name}"))
}

/// `KEY=VALUE`, or `KEY` with the value that it has here.
fn whole(entry: &str) -> Result<String> {
    let key = entry.split('=').next().unwrap_or_default();
    ensure!(!key.is_empty(), "invalid environment variable: {entry:?}");
    if entry.contains('=') {
        return Ok(entry.to_string());
    }
    Ok(format!("{entry}={}", std::env::var(entry).unwrap_or_default()))
}
