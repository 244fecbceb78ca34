//! `minidocker build`.

use anyhow::Result;
use clap::Args;
use dockerfile::{BuildArgs, Builder, Plain, Progress, Quiet, RunStep, tell_failure};
use images::{Image, PullOptions, Reference, Store};
use namespaces::Isolation;

use super::pull::{self, Report};
use crate::demo;
use crate::format::say;
use crate::privileges::PrivilegeArgs;
use crate::root::Root;
use crate::user;

/// Build an image from a Dockerfile.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  minidocker build -t app .\n  minidocker build -t app --target test --build-arg V=2 .\n  \
    minidocker build -t app - < Dockerfile"
)]
pub struct Build {
    #[command(flatten)]
    build: BuildArgs,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Build) -> Result<i32> {
    let store = root.store()?;
    let builder = Builder {
        root: root.path(),
        store: &store,
        extra: &privileges,
        cgroup_parent: &root.cgroup(),
        fetch: &|name| fetch(&store, name),
    };
    let progress: &dyn Progress = if args.build.quiet { &Quiet } else { &Plain::default() };
    match builder.build(&args.build, progress) {
        Ok(image) => {
            say(&image.id)?;
            Ok(0)
        }
        // That a build fails is not the engine's failure: Docker says 1, not 125.
        Err(error) => {
            tell_failure("minidocker", &error);
            Ok(1)
        }
    }
}

fn fetch(store: &Store, name: &Reference) -> Result<Image> {
    if demo::is_meant(name) {
        return demo::ensure(store);
    }
    pull::fetch(store, name, &PullOptions::default(), Report::ToStderr)
}

/// RUN has what a container has by default: Docker's capabilities and its system call filter.
fn privileges(step: &RunStep) -> Result<Vec<Box<dyn Isolation>>> {
    let settings = PrivilegeArgs::default().settings()?;
    Ok(vec![Box::new(user::privileges(settings, &step.user))])
}
