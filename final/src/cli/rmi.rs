//! `minidocker rmi`.

use anyhow::{Context, Result, ensure};
use clap::Args;
use images::{Digest, Store};

use super::for_each;
use crate::container::Container;
use crate::format::say;
use crate::full::is_full;
use crate::id;
use crate::root::Root;
use crate::status;

/// Remove images.
#[derive(Args)]
pub struct Rmi {
    /// Also one that stopped containers were made of, or that has several names
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Rmi) -> Result<i32> {
    let store = root.store()?;
    for_each(&args.images, |name| {
        refuse_if_used(root, &store, name, args.force)?;
        let removed = store.remove(name, args.force, &|| layers_in_use(root)).map_err(|error| {
            match is_full(&error) {
            true => error.context(format!(
                "cannot remove {name}: the list of images must be written anew, and the disk is full (minidocker rm \
                 containers first, or minidocker system reset removes everything)"
            )),
            false => error,
        }
        })?;
        for removed in removed {
            say(removed)?;
        }
        Ok(())
    })
}

/// A container needs its image's layers, and its name to tell what it is of. Losing one name of several is no matter.
fn refuse_if_used(root: &Root, store: &Store, name: &str, force: bool) -> Result<()> {
    let Ok(image) = store.get(name) else { return Ok(()) }; // `remove` says it better, or removes what is damaged
    let by_name = name.parse().is_ok_and(|name| image.names.contains(&name));
    if by_name && image.names.len() > 1 {
        return Ok(());
    }
    for container in Container::all(root)? {
        let Ok(description) = container.description() else { continue };
        if description.image_id != image.id.to_string() {
            continue;
        }
        let running = status::of(&container)?.0.is_running();
        let used_by = id::short(container.id());
        ensure!(
            !running,
            "cannot remove {name}: container {used_by} ({}) is running on it (minidocker rm -f {used_by})",
            description.name
        );
        ensure!(
            force,
            "cannot remove {name}: container {used_by} ({}) was made of it (remove that first, or use -f)",
            description.name
        );
    }
    Ok(())
}

/// The layers that containers stand on.
pub fn layers_in_use(root: &Root) -> Result<Vec<Digest>> {
    let containers = Container::all(root).context("find out which layers are in use")?;
    Ok(containers.iter().filter_map(|container| container.description().ok()).flat_map(|d| d.diff_ids).collect())
}
