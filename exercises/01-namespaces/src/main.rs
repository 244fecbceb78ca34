//! `ex01`: run a command in namespaces of its own, enter those of a process, list them all.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use ex_01_namespaces::enter::Enter;
use ex_01_namespaces::program::{say, tell};
use ex_01_namespaces::{Isolation, Kind, NamespaceArgs, Process, list, run_to_end, undo};
use nix::unistd::Pid;

/// A process in its own world: new namespaces, and nothing else yet.
///
/// The file system, the network and the limits are still the host's business: chapters 2 to 5 take them on.
#[derive(Parser)]
#[command(name = "ex01", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ex01 run --hostname box sh -c 'hostname; echo I am pid $$'
  ex01 run --init sh                    pid 1 reaps and forwards signals
  ex01 run --new user --share net id    root inside only, the host's network
  ex01 run --time-offset boottime=86400 uptime      a machine that is a day older
  ex01 run --pid container:4711 ps      in the pid namespace of process 4711
  ex01 list --type uts                  who has a host name of their own
  ex01 enter 4711 --only uts hostname   the host name that process 4711 sees

An ordinary user can run all of it: a user namespace is added by itself.";

#[derive(Subcommand)]
enum Command {
    /// Run a command in new namespaces
    #[command(disable_help_flag = true)]
    Run(Box<Run>),
    /// Run a command in the namespaces of a process
    Enter(EnterArgs),
    /// List namespaces and who is in them; a star marks those that we are in
    List(List),
}

#[derive(Args)]
#[command(args_override_self = true)]
struct Run {
    #[command(flatten)]
    namespaces: NamespaceArgs,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Args)]
struct EnterArgs {
    /// The process
    pid: i32,
    /// Only these kinds: user, mnt, pid, net, ipc, uts, cgroup, time
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    only: Vec<Kind>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Args)]
struct List {
    /// Only this kind
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    /// Only the namespaces of this process
    pid: Option<i32>,
}

fn main() -> ExitCode {
    ex_01_namespaces::main(|cli: Cli| match cli.command {
        Command::Run(args) => run(*args),
        Command::Enter(args) => enter(args),
        Command::List(args) => list_namespaces(args),
    })
}

fn run(args: Run) -> Result<i32> {
    let mut process = Process::inheriting(args.command);
    process.init = args.namespaces.init;
    Ok(run_to_end(process, args.namespaces.isolations()?, undo)?.code())
}

fn enter(args: EnterArgs) -> Result<i32> {
    let kinds = if args.only.is_empty() { &Kind::ALL[..] } else { &args.only };
    let enter = Enter::only(Pid::from_raw(args.pid), kinds)?;
    let mut process = Process::inheriting(args.command);
    if enter.kinds().contains(&Kind::Mount) {
        process.cwd = "/".into(); // ours may not exist there
    }
    let isolations: Vec<Box<dyn Isolation>> = vec![Box::new(enter)];
    Ok(run_to_end(process, isolations, undo)?.code())
}

fn list_namespaces(args: List) -> Result<i32> {
    let mut listing = list::namespaces()?;
    let own = list::of_process(&"self").context("look at our own namespaces")?;
    let rows = &mut listing.namespaces;
    if let Some(pid) = args.pid {
        rows.retain(|row| row.pids.contains(&pid));
        ensure!(!rows.is_empty(), "there is no process {pid}, or it is not ours to look at");
    }
    rows.retain(|row| args.kind.is_none_or(|kind| row.kind == kind));
    say(format!("{:>12} {:<6} {:>6} {:>7} {:<8}  COMMAND", "NS", "TYPE", "NPROCS", "PID", "USER"))?;
    for row in rows {
        let ours = if own.contains(&(row.kind, row.inode)) { '*' } else { ' ' };
        let (count, pid) = (row.pids.len(), row.pids[0]);
        let (user, command) = (list::user(pid), list::command(pid));
        say(format!("{ours} {:>10} {:<6} {count:>6} {pid:>7} {user:<8}  {command}", row.inode, row.kind))?;
    }
    if listing.hidden > 0 {
        tell(format!("ex01: {} processes are not ours to look at (as root, all are)", listing.hidden));
    }
    Ok(0)
}
