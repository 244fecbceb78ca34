//! `minidocker system`.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};

use super::for_each;
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
    // What fails is told, and keeps nothing else from being removed.
    let mut code = for_each(&containers, |container| {
        life::remove(container, true, OwnVolumes::Keep).with_context(|| format!("cannot remove {}", container.id()))
    })?;
    // A container that could not be ended is not left without what the next attempt finds it by, nor without its files.
    let standing = if code == 0 { &["containers", "names", "starting", "layers"][..] } else { &[] };
    if !namespaces::rootless() {
        code |= for_each(&[root.bridge()], |bridge| network::reset(bridge).context("take away the network"))?;
    }
    for directories in [standing, &["images", "volumes", "networks", "build-cache", "tmp"]] {
        code |= for_each(directories, |directory| {
            let path = root.path().join(directory);
            // A monitor may be deleting there as well, of which each then misses what the other was quicker with.
            delete_tree(&path).or_else(|_| delete_tree(&path)).with_context(|| format!("delete {}", path.display()))
        })?;
    }
    let _ = fs::remove_file(root.swept());
    // Not the directory itself if something else lies in it.
    let _ = fs::remove_dir(root.path());
    Ok(code)
}
