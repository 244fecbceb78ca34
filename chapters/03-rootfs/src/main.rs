//! `ch03`: run a command in a root filesystem of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use cgroups::CgroupArgs;
use clap::{Args, Parser, Subcommand};
use namespaces::process::DEFAULT_PATH;
use namespaces::{NamespaceArgs, Process, run_to_end};
use rootfs::{Device, Root, RootfsArgs, undo};

/// A process with its own root: pivot_root, /proc, /sys, /dev, volumes.
///
/// The root is a plain directory, which the container writes to; chapter 4 puts layers there. There is no network yet
/// but the container's own loopback, which is down.
#[derive(Parser)]
#[command(name = "ch03", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  mkdir -p box/bin && cp /bin/busybox box/bin && chroot box /bin/busybox --install -s /bin
  ch03 run --rootfs box sh                      a shell with box as its root
  ch03 run --rootfs box mount                   what is mounted, all of it
  ch03 run --rootfs box -v /srv:/srv:ro ls /srv a directory of the host, read-only
  ch03 run --rootfs box --device /dev/fuse ls -l /dev
  ch03 run --rootfs box --read-only --tmpfs /tmp sh -c 'echo x >/tmp/x; echo x >/x'

An ordinary user can run all of it: a user namespace is added by itself. The root should then belong to that user.
Needs Linux 5.12.";

#[derive(Subcommand)]
enum Command {
    /// Run a command in a root filesystem of its own
    #[command(disable_help_flag = true)]
    Run(Box<Run>),
}

#[derive(Args)]
#[command(args_override_self = true)]
struct Run {
    /// The directory that becomes /
    #[arg(long, value_name = "DIR")]
    rootfs: PathBuf,
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

fn main() -> ExitCode {
    namespaces::main(|cli: Cli| match cli.command {
        Command::Run(args) => run(*args),
    })
}

fn run(mut args: Run) -> Result<i32> {
    let mut process = Process::new(args.command);
    // The host's environment means nothing in there, but for the terminal.
    process.set_env("PATH", DEFAULT_PATH);
    if let Some(term) = std::env::var_os("TERM") {
        process.set_env("TERM", term);
    }
    process.init = args.namespaces.init;
    args.files.set_cwd(&mut process)?;

    let rootfs = args.files.rootfs(Root::Directory(args.rootfs))?;
    args.limits.device_cgroup_rule.extend(rootfs.devices.iter().map(Device::rule));
    let id = std::process::id().to_string();
    let mut isolations = args.limits.isolations(&args.namespaces, "ch03", &id)?;
    isolations.push(Box::new(rootfs));
    Ok(run_to_end(process, isolations, undo)?.code())
}
