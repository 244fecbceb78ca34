//! `ch04`: run a command in a root made of layers; unpack, compare and pack layers.

use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use cgroups::CgroupArgs;
use clap::{Args, Parser, Subcommand};
use layers::args::{LayerArgs, Scratch, lower, unpack_file};
use layers::{diff, pack, pack_above, undo};
use namespaces::program::{say, tell};
use namespaces::{NamespaceArgs, Process, run_to_end};
use rootfs::{Device, Root, RootfsArgs};

/// A process whose root is made of layers: many read-only, shared; one of its own on top.
///
/// What the process changes ends up in the upper directory, and can become the next layer.
#[derive(Parser)]
#[command(name = "ch04", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ch04 run --layer base sh                          the directory base stays as it is
  ch04 run --layer base.tar.gz --upper new sh -c 'echo hi >/hello; rm /bin/ls'
  ch04 diff new --layer base.tar.gz                 A /hello, C /bin, D /bin/ls
  ch04 commit new -o hello.tar                      the next layer; prints its diff ID
  ch04 run --layer base.tar.gz --layer hello.tar cat /hello
  ch04 unpack hello.tar dir                         look at it: whiteouts are devices 0, 0

An ordinary user can run all of it: a user namespace is added by itself. Needs Linux 5.12.";

#[derive(Subcommand)]
enum Command {
    /// Run a command in a root made of layers
    #[command(disable_help_flag = true)]
    Run(Box<Run>),
    /// Show what was added (A), changed (C) and deleted (D) in an upper directory
    Diff(Diff),
    /// Write an upper directory as a layer tar
    Commit(Commit),
    /// Unpack one layer tar into a new directory
    Unpack(Unpack),
}

#[derive(Args)]
#[command(args_override_self = true)]
struct Run {
    #[command(flatten)]
    layers: LayerArgs,
    #[command(flatten)]
    files: RootfsArgs,
    #[command(flatten)]
    limits: CgroupArgs,
    #[command(flatten)]
    namespaces: NamespaceArgs,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Args)]
struct Diff {
    /// The upper directory
    upper: PathBuf,
    /// A layer below it (may be repeated, the base first)
    #[arg(long = "layer", value_name = "DIR|TAR")]
    layers: Vec<PathBuf>,
}

#[derive(Args)]
struct Commit {
    /// The upper directory
    upper: PathBuf,
    /// A layer below it (may be repeated, the base first): leaves out marks that hide nothing
    #[arg(long = "layer", value_name = "DIR|TAR")]
    layers: Vec<PathBuf>,
    /// Write the tar here, and its diff ID to standard output [default: the tar to standard output, the diff ID to error]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args)]
struct Unpack {
    /// The layer: a tar, plain or compressed by gzip or zstd; - for standard input
    tar: PathBuf,
    /// The directory, new or empty
    directory: PathBuf,
}

fn main() -> ExitCode {
    namespaces::main(|cli: Cli| match cli.command {
        Command::Run(args) => run(*args),
        Command::Diff(args) => show_diff(args),
        Command::Commit(args) => commit(args),
        Command::Unpack(args) => unpack(args),
    })
}

fn run(mut args: Run) -> Result<i32> {
    let mut process = Process::new(args.command);
    process.init = args.namespaces.init;
    args.files.set_cwd(&mut process)?;

    let scratch = Scratch::new()?;
    let layers = args.layers.isolation(&scratch)?;
    let rootfs = args.files.rootfs(Root::Mounted(layers.mountpoint.clone()))?;
    args.limits.device_cgroup_rule.extend(rootfs.devices.iter().map(Device::rule));
    let mut isolations = args.limits.isolations(&args.namespaces, "ch04", &std::process::id().to_string())?;
    isolations.push(Box::new(layers));
    isolations.push(Box::new(rootfs));
    Ok(run_to_end(process, isolations, undo)?.code())
}

fn show_diff(args: Diff) -> Result<i32> {
    let scratch = Scratch::new()?;
    let changes = diff(&args.upper, &lower(&args.layers, &scratch.store()?)?)?;
    let mut out = stdout().lock();
    for change in changes {
        writeln!(out, "{change}").context("print")?;
    }
    Ok(0)
}

fn commit(args: Commit) -> Result<i32> {
    let scratch = Scratch::new()?;
    let below = lower(&args.layers, &scratch.store()?)?;
    let write = |out: &mut dyn Write| {
        if below.is_empty() { pack(&args.upper, out) } else { pack_above(&args.upper, &below, out) }
    };
    match args.output {
        Some(path) => {
            let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
            say(write(&mut file)?.diff_id)?;
        }
        None => {
            ensure!(!stdout().is_terminal(), "a tar is nothing for a terminal (use -o FILE, or > FILE)");
            tell(write(&mut stdout().lock())?.diff_id);
        }
    }
    Ok(0)
}

fn unpack(args: Unpack) -> Result<i32> {
    let unpacked = unpack_file(&args.tar, &args.directory)?;
    say(format!("digest   {}", unpacked.digest))?;
    say(format!("diff ID  {}", unpacked.diff_id))?;
    say(format!("entries  {}", unpacked.contents.entries))?;
    say(format!("bytes    {}", unpacked.contents.size))?;
    if unpacked.contents.noted > 0 {
        say(format!("noted    {}", unpacked.contents.noted))?;
        tell(
            "not all of an image is an ordinary user's to keep (owners, devices, capabilities): see the notes beside it",
        );
    }
    Ok(0)
}
