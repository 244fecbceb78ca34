//! `minidocker system`.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};

use crate::container::Container;
use crate::discard::delete_tree;
use crate::life::{self, OwnVolumes};
use crate::root::Root;

/// Manage the engine's own things.
#[derive(Args)]
pub struct System {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Remove everything: containers, images, volumes, and what the network needs on this host
    Reset {
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
}

/// Carries the command out.
pub fn run(root: &Root, args: &System) -> Result<i32> {
    match args.command {
        Command::Reset { force } => reset(root, force),
    }
}

fn reset(root: &Root, force: bool) -> Result<i32> {
    let containers = Container::all(root)?;
    if !force {
        ensure!(io::stdin().is_terminal(), "this removes everything below {}: say --force", root.path().display());
        write!(
            io::stdout(),
            "This kills and removes {} containers and removes all images, volumes and build results below {}.\nGo on? [y/N] ",
            containers.len(),
            root.path().display()
        )
        .and_then(|()| io::stdout().flush())
        .context("ask")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("read the answer")?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("nothing was removed");
        }
    }
    for container in containers {
        life::remove(&container, true, OwnVolumes::Keep).with_context(|| format!("remove {}", container.id()))?;
    }
    if !namespaces::rootless() {
        network::reset(&root.bridge()).context("take away the network")?;
    }
    for directory in
        ["containers", "names", "starting", "images", "layers", "volumes", "networks", "build-cache", "tmp"]
    {
        let path = root.path().join(directory);
        delete_tree(&path).with_context(|| format!("delete {}", path.display()))?;
    }
    // Not the directory itself if something else lies in it.
    let _ = fs::remove_dir(root.path());
    Ok(0)
}
