//! `minidocker create`, and what `run` does as well: the image, the container on disk.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use images::{Image, PullOptions, Reference, Store};
use namespaces::program::tell;

use super::describe::describe;
use super::options::{Options, Pull};
use crate::container::{self, Container};
use crate::demo;
use crate::description::Description;
use crate::format::say;
use crate::root::Root;

/// Make a container of an image, to be started later.
///
/// The image is pulled if it is not there. The image `demo` is made on the spot, of this machine's own programs.
#[derive(Args)]
#[command(args_override_self = true)]
pub struct Create {
    #[command(flatten)]
    options: Options,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Create) -> Result<i32> {
    let (container, _) = make(root, &args.options)?;
    container.settle(); // made is all that it was to be
    container.flush();
    say(container.id())?;
    Ok(0)
}

/// Makes the container that the options are for, on disk; nothing of it runs.
///
/// Until [`Container::settle`] is called it is one that is being made: what becomes of it if we are killed is up to the
/// next start.
pub fn make(root: &Root, options: &Options) -> Result<(Container, Description)> {
    container::tidy(root)?;
    let store = root.store()?;
    let _lease = store.lease()?; // until the container stands, nobody may remove the image's layers
    let image = find_image(&store, options)?;
    let (container, description) = describe(root, &store, &image, options)?;
    if let Some(path) = &options.cidfile {
        write_cidfile(path, container.id()).inspect_err(|_| drop(container.delete_with_volumes()))?;
    }
    Ok((container, description))
}

/// The image: from the store, made here if it is `demo`, else from its registry.
fn find_image(store: &Store, options: &Options) -> Result<Image> {
    let name = options.image();
    if options.pull != Pull::Always
        && let Some(image) = store.find(name)?
    {
        return Ok(image);
    }
    let reference: Reference = name.parse()?;
    if demo::is_meant(&reference) {
        return demo::ensure(store);
    }
    if options.pull == Pull::Never {
        bail!("there is no image {} here, and --pull never forbids to fetch it", reference.familiar());
    }
    tell(format!("Unable to find image '{}' locally", reference.familiar()));
    let pull = PullOptions { platform: options.image_args.platform.clone(), ..PullOptions::default() };
    super::pull::fetch(store, &reference, &pull, super::pull::Report::ToStderr)
}

/// Like Docker, never over an existing file: it may be the id of a container that somebody still counts on.
fn write_cidfile(path: &PathBuf, id: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(id.as_bytes()))
        .with_context(|| format!("write the container's id to {}", path.display()))
}
