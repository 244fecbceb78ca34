//! `ch07`: build an image from a Dockerfile.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use dockerfile::{BuildArgs, Builder, Plain, Progress, Quiet, plain_user, tell_failure};
use images::{PullOptions, Silent, Store};
use namespaces::program::say;

/// Images from a Dockerfile: each instruction a step, each step's result kept for the next time.
#[derive(Parser)]
#[command(name = "ch07", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ch07 build -t hello .                             Dockerfile and files from this directory
  ch07 build -t hello --build-arg V=2 --target test .
  ch07 build -t hello - < Dockerfile                no files, only a Dockerfile
  tar c . | ch07 build -t hello -                   both from an archive
  ch06 run hello                                    chapter 6 runs it, from the same store

Needs root, Linux 5.12.";

#[derive(Subcommand)]
enum Command {
    /// Build an image
    Build(Box<Build>),
}

#[derive(Args)]
struct Build {
    /// Where images, layers and the build cache are kept
    #[arg(long, value_name = "DIR", env = "MINIDOCKER_ROOT", default_value = "/var/lib/minidocker")]
    store: PathBuf,
    #[command(flatten)]
    build: BuildArgs,
}

fn main() -> ExitCode {
    namespaces::main(|cli: Cli| match cli.command {
        Command::Build(args) => build(&args),
    })
}

fn build(args: &Build) -> Result<i32> {
    let store = Store::open(&args.store)?;
    let builder = Builder {
        root: &args.store,
        store: &store,
        extra: &plain_user,
        cgroup_parent: "ch07",
        fetch: &|name| store.pull(name, &PullOptions::default(), &Silent),
    };
    let progress: &dyn Progress = if args.build.quiet { &Quiet } else { &Plain::default() };
    match builder.build(&args.build, progress) {
        Ok(image) => {
            say(&image.id)?;
            Ok(0)
        }
        // A build that fails is not the engine's failure: Docker says 1, not 125.
        Err(error) => {
            tell_failure("ch07", &error);
            Ok(1)
        }
    }
}
