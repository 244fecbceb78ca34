//! The command line: one command, one file.

pub mod attach;
pub mod build;
pub mod create;
pub mod describe;
pub mod empty;
pub mod exec;
pub mod images;
pub mod info;
pub mod inspect;
pub mod kill;
pub mod load;
pub mod logs;
pub mod options;
pub mod pause;
pub mod port;
pub mod ps;
pub mod pull;
pub mod rename;
pub mod restart;
pub mod rm;
pub mod rmi;
pub mod run;
pub mod save;
pub mod start;
pub mod stats;
pub mod stop;
pub mod system;
pub mod tag;
pub mod top;
pub mod update;
pub mod version;
pub mod volume;
pub mod wait;

use std::ffi::OsString;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};
use namespaces::StartError;
use namespaces::failure::ENGINE_FAILED;
use namespaces::program::{sentence, tell};

use crate::format::say;
use crate::monitor::{self, Summoned};
use crate::root::Root;

/// Containers without a daemon: Docker's commands, started in milliseconds, leaving nothing behind.
#[derive(Parser)]
#[command(name = "minidocker", version, disable_help_subcommand = true, after_help = EXAMPLES)]
pub struct Cli {
    /// State directory [default: $MINIDOCKER_ROOT, else /var/lib/minidocker, without root ~/.local/share/minidocker]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  minidocker run --rm -it demo                    a shell in a container, no download needed
  minidocker run -d --name web -p 8080:80 nginx   a web server on port 8080
  minidocker exec -it web sh                      a shell beside it
  minidocker logs -f web                          what it says
  minidocker stop web && minidocker rm web

Docker's documentation of a command applies to the command of the same name here.";

// `defer`: of thirty commands the arguments of that one are gathered which is carried out.
#[derive(Subcommand)]
#[command(defer = true)]
enum Command {
    /// Make a container of an image and run a command in it
    #[command(disable_help_flag = true)]
    Run(Box<run::Run>),
    /// Make a container of an image, to be started later
    #[command(disable_help_flag = true)]
    Create(Box<create::Create>),
    /// List containers
    Ps(ps::Ps),
    /// Show what a container has printed
    Logs(logs::Logs),
    /// Run another command in a running container
    Exec(exec::Exec),
    /// Connect with a running container's main process
    Attach(attach::Attach),
    /// Start stopped containers again
    Start(start::Start),
    /// Stop containers and start them again
    Restart(restart::Restart),
    /// Wait until containers have ended, and print their exit statuses
    Wait(wait::Wait),
    /// Give a container another name
    Rename(rename::Rename),
    /// List the ports that a container publishes
    Port(port::Port),
    /// Ask containers to stop, and kill those that do not
    Stop(stop::Stop),
    /// Send containers a signal
    Kill(kill::Kill),
    /// Stop all processes of containers where they stand
    Pause(pause::Pause),
    /// Let the processes of paused containers go on
    Unpause(pause::Unpause),
    /// Change the limits of containers, running or not
    Update(Box<update::Update>),
    /// Show what containers use, every second anew
    Stats(stats::Stats),
    /// Show the processes of a container
    Top(top::Top),
    /// Remove containers
    Rm(rm::Rm),
    /// Show all there is to know of containers or images, as JSON
    Inspect(inspect::Inspect),
    /// List images
    Images(images::Images),
    /// Fetch an image from its registry
    Pull(pull::Pull),
    /// Remove images
    Rmi(rmi::Rmi),
    /// Give an image another name
    Tag(tag::Tag),
    /// Build an image from a Dockerfile
    Build(Box<build::Build>),
    /// Write images to an archive
    Save(save::Save),
    /// Read images from an archive
    Load(load::Load),
    /// Show the versions of the engine and of what it stands on
    Version(version::Version),
    /// Show what this engine has and what this machine can
    Info(info::Info),
    /// Manage volumes: files that outlive containers
    Volume(volume::Volume),
    /// Manage the engine's own things
    System(system::System),
}

/// Where a command runs code of an image, which must not be able to write to this program's file (CVE-2019-5736).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignCode {
    /// Under this process itself.
    Here,
    /// Under a new monitor, which sees to its own protection.
    UnderMonitor,
}

/// A glance at the words of a command line, before they are parsed. To take another command for one of these costs half a
/// millisecond; to miss one is safe as well, the monitor is then summoned later.
pub fn foreign_code(words: impl Iterator<Item = OsString>) -> Option<ForeignCode> {
    for word in words {
        match word.to_str() {
            Some("build") => return Some(ForeignCode::Here),
            Some("run") => return Some(ForeignCode::UnderMonitor),
            _ => {}
        }
    }
    None
}

/// Docker's exit status for a mistake in the command line: 125 where an option is wrong, 1 where words are missing or too
/// many or name no command, 0 where no command is given at all and help is the answer.
pub fn status_of_mistake(error: &clap::Error) -> u8 {
    let of_option = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return 0,
        ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand | ErrorKind::MissingRequiredArgument => false,
        // An argument that was not expected, or had no value, or the wrong one: `--name` or a word?
        _ => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) => argument.starts_with('-'),
            _ => true,
        },
    };
    if of_option { ENGINE_FAILED } else { 1 }
}

/// Carries a command line out; gives the exit status.
///
/// `monitor` is one that was summoned already.
pub fn run(cli: Cli, monitor: Option<Result<Summoned>>) -> Result<i32> {
    let root = Root::open(cli.root)?;
    let result = match cli.command {
        Command::Run(args) => return run::run(&root, *args, monitor.unwrap_or_else(monitor::summon)?),
        // The engine's own failure is 125 here too.
        Command::Create(args) => return create::run(&root, &args),
        Command::Ps(args) => ps::run(&root, &args),
        Command::Logs(args) => logs::run(&root, &args),
        Command::Exec(args) => exec::run(&root, args),
        Command::Attach(args) => attach::run(&root, &args),
        Command::Start(args) => start::run(&root, &args),
        Command::Restart(args) => restart::run(&root, &args),
        Command::Wait(args) => wait::run(&root, &args),
        Command::Rename(args) => rename::run(&root, &args),
        Command::Port(args) => port::run(&root, &args),
        Command::Stop(args) => stop::run(&root, &args),
        Command::Kill(args) => kill::run(&root, &args),
        Command::Pause(args) => pause::pause(&root, &args),
        Command::Unpause(args) => pause::unpause(&root, &args),
        Command::Update(args) => update::run(&root, &args),
        Command::Stats(args) => stats::run(&root, &args),
        Command::Top(args) => top::run(&root, &args),
        Command::Rm(args) => rm::run(&root, &args),
        Command::Inspect(args) => inspect::run(&root, &args),
        Command::Images(args) => images::run(&root, &args),
        Command::Pull(args) => pull::run(&root, &args),
        Command::Rmi(args) => rmi::run(&root, &args),
        Command::Tag(args) => tag::run(&root, &args),
        Command::Build(args) => build::run(&root, &args),
        Command::Save(args) => save::run(&root, &args),
        Command::Load(args) => load::run(&root, &args),
        Command::Version(args) => version::run(&args),
        Command::Info(args) => info::run(&root, &args),
        Command::Volume(args) => volume::run(&root, &args),
        Command::System(args) => system::run(&root, &args),
    };
    // Of Docker's commands only `run` and `create` say 125 where the engine failed. What crossed the gate carries its own status.
    result.map_err(|error| match error.is::<StartError>() {
        true => error,
        false => StartError { code: 1, ..StartError::from(&error) }.into(),
    })
}

/// Does something for each of the names on a command line, as Docker does: what fails is told on the spot, the others go
/// on, and the exit status says that something failed.
pub fn for_each<T>(names: &[T], mut act: impl FnMut(&T) -> Result<()>) -> Result<i32> {
    let mut code = 0;
    for name in names {
        if let Err(error) = act(name) {
            tell(format!("minidocker: {}", sentence(&error)));
            code = 1;
        }
    }
    Ok(code)
}

/// As [`for_each`], all at once for what waits: to stop twenty containers that do not listen takes ten seconds, not two
/// hundred. Prints the names that went well, and the errors, in the order of the command line.
pub fn for_each_at_once(names: &[String], act: impl Fn(&String) -> Result<()> + Sync) -> Result<i32> {
    let act = &act;
    thread::scope(|scope| {
        let begin = |name| thread::Builder::new().spawn_scoped(scope, move || act(name));
        let mut threads = names.iter().map(begin).collect::<Vec<_>>().into_iter();
        for_each(names, |name| {
            let thread = threads.next().expect("one for each name").context("start a thread")?;
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            say(name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::ensure;
    use clap::CommandFactory;
    use std::sync::Barrier;

    /// Each waits for the others: one after the other would wait for ever.
    #[test]
    fn what_waits_is_done_at_once() {
        let all = Barrier::new(3);
        let names = ["a", "b", "c"].map(String::from);
        let code = for_each_at_once(&names, |name| {
            all.wait();
            ensure!(name != "b", "not b");
            Ok(())
        });
        assert_eq!(code.unwrap(), 1);
    }

    /// As the docker command of 28.2 does.
    #[test]
    fn a_mistake_has_dockers_status() {
        let status = |line: &str| {
            let words = ["minidocker"].into_iter().chain(line.split_whitespace());
            Cli::try_parse_from(words).err().map(|error| status_of_mistake(&error))
        };
        for line in ["run --bogus x", "ps --bogus", "--bogus", "run --cap-add", "run -m x a", "images --format"] {
            assert_eq!(status(line), Some(125), "{line}");
        }
        for line in ["bogus", "run", "run --rm", "create", "exec", "exec c", "ps extra", "stop", "tag a", "system no"] {
            assert_eq!(status(line), Some(1), "{line}");
        }
        assert_eq!((status(""), status("system"), status("run demo --bogus")), (Some(0), Some(0), None));
    }

    /// Two chapters that claim the same flag, an argument without help: found here, not at the first `run`.
    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
