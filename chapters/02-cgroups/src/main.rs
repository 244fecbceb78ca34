//! `ch02`: run a command with limits, see what it used, stop it and let it go on.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::remove_dir;
use std::process::{self, ExitCode};

use anyhow::{Result, bail, ensure};
use cgroups::accounting::stats;
use cgroups::{CgroupArgs, Group, Hierarchies, LimitArgs, Limits, format_bytes, report};
use clap::{Args, Parser, Subcommand};
use namespaces::program::{say, tell};
use namespaces::{NamespaceArgs, Process, Record, run_to_end};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A process in its own world that takes no more than its share: chapter 1, and cgroups.
///
/// Works on cgroup v2, v1 and hybrid machines; `ch02 plan` shows what it does on this one.
#[derive(Parser)]
#[command(name = "ch02", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ch02 run --cpus 0.5 sh -c 'while :; do :; done'   half a processor, look at it with top
  ch02 run --memory 64m tail /dev/zero              takes all it can get: killed, status 137
  ch02 run --pids-limit 20 --name few sh            its 21st process is refused
  ch02 stats                                        what they all use
  ch02 update --pids-limit 40 few                   a few more
  ch02 pause few; ch02 resume few                   stop it where it stands, and let it go on
  ch02 plan --memory 64m --cpus 0.5                 the same by hand: mkdir and echo

A limit takes root, or with cgroup v2 alone a cgroup that was delegated, from a login of your own:
  systemd-run --user --scope -p Delegate=yes ch02 run …";

#[derive(Subcommand)]
enum Command {
    /// Run a command in new namespaces and a cgroup of its own
    #[command(disable_help_flag = true)]
    Run(Box<Run>),
    /// Show what would be written where for these limits
    Plan(Plan),
    /// Show what containers use
    Stats {
        /// A name, or the path of any cgroup [default: all containers of ch02]
        container: Option<String>,
    },
    /// Change the limits of a container that runs
    Update(Update),
    /// Stop all processes of a container
    Pause {
        /// Its name, or the path of a cgroup
        container: String,
    },
    /// Let the processes of a paused container go on
    Resume {
        /// Its name, or the path of a cgroup
        container: String,
    },
}

#[derive(Args)]
#[command(args_override_self = true)]
struct Run {
    /// Name of the container and of its cgroup [default: the number of this process]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    limits: CgroupArgs,
    #[command(flatten)]
    namespaces: NamespaceArgs,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Args)]
struct Plan {
    #[command(flatten)]
    limits: CgroupArgs,
}

#[derive(Args)]
struct Update {
    #[command(flatten)]
    limits: LimitArgs,
    /// Its name, or the path of a cgroup
    container: String,
}

/// The directory of our containers' cgroups, in every tree.
const PARENT: &str = "ch02";

fn main() -> ExitCode {
    namespaces::main(|cli: Cli| match cli.command {
        Command::Run(args) => run(*args),
        Command::Plan(args) => plan(args),
        Command::Stats { container } => show_stats(container),
        Command::Update(args) => update(&args),
        Command::Pause { container } => cgroups::freeze(&path(&container)).map(|()| 0),
        Command::Resume { container } => cgroups::thaw(&path(&container)).map(|()| 0),
    })
}

fn run(args: Run) -> Result<i32> {
    sweep();
    let id = args.name.unwrap_or_else(|| process::id().to_string());
    ensure!(!id.contains('/'), "invalid name {id:?}: it must not contain a slash");
    claim(&args.limits.path(PARENT, &id))?;
    let isolations = args.limits.isolations(&args.namespaces, PARENT, &id)?;
    let mut process = Process::inheriting(args.command);
    process.init = args.namespaces.init;
    Ok(run_to_end(process, isolations, undo)?.code())
}

/// Makes sure that no container has this cgroup. One without processes is what a `ch02` left behind that was killed.
fn claim(path: &str) -> Result<()> {
    let group = Group::find(path)?;
    if !group.processes()?.is_empty() {
        bail!("a container with the cgroup {path} is running (take another --name)");
    }
    group.remove()
}

/// Removes what a `ch02` without a name for its container has left that was killed: the cgroup of its number, when
/// neither it nor a process of the container lives. Whatever fails here is not this run's affair.
fn sweep() {
    for path in containers().unwrap_or_default() {
        let owner = path.rsplit('/').next().and_then(|name| name.parse().ok()).map(Pid::from_raw);
        let dead = owner.is_some_and(|owner| kill(owner, None) == Err(Errno::ESRCH));
        if dead
            && let Ok(group) = Group::find(&path)
            && group.processes().is_ok_and(|processes| processes.is_empty())
        {
            group.directories().for_each(|directory| drop(remove_dir(directory)));
        }
    }
}

/// Before a cgroup is removed, the last look at what it counted.
fn undo(record: &Record) -> Result<()> {
    if let Ok(group) = serde_json::from_value::<Group>(record.data.clone()) {
        let stats = stats(&group);
        if stats.oom_kills.is_some_and(|kills| kills > 0) {
            let limit = stats.memory_max.map(format_bytes).unwrap_or("the machine's memory".into());
            tell(format!("ch02: out of memory: the kernel killed a process at {limit}"));
        }
        if let (Some(refused @ 1..), Some(max)) = (stats.pids_refused, stats.pids_max) {
            tell(format!("ch02: {refused} times a process was refused: the limit is {max}"));
        }
    }
    cgroups::undo(record)
}

fn plan(args: Plan) -> Result<i32> {
    say(format!("# cgroup {}", Hierarchies::detect()?.kind()))?;
    match args.limits.cgroup(PARENT, "NAME")?.plan()? {
        Some(plan) => say(plan.to_string().trim_end())?,
        None => say("# nothing is limited, and there is no place for a cgroup: none is made")?,
    }
    Ok(0)
}

/// We keep no books: what is not given is taken to be as it should be. So `--memory` alone sets swap as at the start.
fn update(args: &Update) -> Result<i32> {
    let limits = args.limits.applied_to(&Limits::default());
    ensure!(!limits.is_empty(), "which limit is to be changed? (ch02 update --help)");
    let path = path(&args.container);
    limits.check_here(&path)?;
    cgroups::update(&path, &Limits::default(), &limits)?;
    Ok(0)
}

fn show_stats(container: Option<String>) -> Result<i32> {
    let (paths, one) = match container {
        Some(container) => (vec![path(&container)], true),
        None => (containers()?, false),
    };
    let mut rows = Vec::new();
    for path in paths {
        match Group::at(&path) {
            Ok(group) => {
                let stats = stats(&group);
                rows.push(report::row(path.trim_start_matches("ch02/"), &stats));
                if one {
                    rows.push(report::details(&stats).trim_end().to_owned());
                }
            }
            Err(error) if one => return Err(error),
            Err(_) => {} // it has just ended
        }
    }
    say(report::HEADER)?;
    rows.iter().try_for_each(say)?;
    Ok(0)
}

/// Our containers that run.
fn containers() -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for directory in Group::find(PARENT)?.directories() {
        for entry in directory.read_dir()?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names.insert(format!("{PARENT}/{}", entry.file_name().display()));
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// The cgroup's path for what was typed: a name of ours, or the path itself.
fn path(container: &str) -> String {
    if container.contains('/') { container.to_owned() } else { format!("{PARENT}/{container}") }
}
