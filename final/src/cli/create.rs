//! What `run` and `create` share: the options, the image, the container on disk. And `minidocker create`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cgroups::CgroupArgs;
use clap::{Args, ValueEnum};
use images::{Image, ImageArgs, PullOptions, Reference, Store};
use network::NetworkArgs;
use rootfs::RootfsArgs;

use super::describe::describe;
use crate::container::{self, Container};
use crate::demo;
use crate::description::Description;
use crate::format::say;
use crate::privileges::PrivilegeArgs;
use crate::root::Root;
use crate::sharing::SharingArgs;
use crate::volumes::VolumesFrom;

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
    say(container.id())?;
    Ok(0)
}

/// What a container is made of.
#[derive(Args)]
pub struct Options {
    /// Remove the container when it ends
    #[arg(long)]
    pub(super) rm: bool,

    /// Name of the container
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,

    /// Keep standard input open
    #[arg(short, long)]
    pub(super) interactive: bool,

    /// Give it a terminal
    #[arg(short, long)]
    pub(super) tty: bool,

    /// Anything to find it by later, KEY=VALUE
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub(super) labels: Vec<String>,

    /// Anything that other tools are to know of it, KEY=VALUE
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub(super) annotations: Vec<String>,

    /// The signal that asks it to stop, by name or number [default: the image's, else SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    pub(super) stop_signal: Option<String>,

    /// Seconds that `stop` waits before it kills
    #[arg(long, value_name = "SECONDS")]
    pub(super) stop_timeout: Option<u64>,

    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(super) pull: Pull,

    /// Write the container's id to this file
    #[arg(long, value_name = "FILE")]
    pub(super) cidfile: Option<PathBuf>,

    /// Mount what another container has of volumes, on the same places
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub(super) volumes_from: Vec<VolumesFrom>,

    /// Who keeps volumes; there is local only
    #[arg(long, value_name = "DRIVER", value_parser = ["local"])]
    pub(super) volume_driver: Option<String>,

    #[command(flatten)]
    pub(super) image_args: ImageArgs,
    #[command(flatten)]
    pub(super) rootfs: RootfsArgs,
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    #[command(flatten)]
    pub(super) cgroup: CgroupArgs,
    #[command(flatten)]
    pub(super) privileges: PrivilegeArgs,
    #[command(flatten)]
    pub(super) sharing: SharingArgs,

    /// The image, and a command with its arguments in place of the image's
    // One list, so that whatever follows the image is the command's own, flags included.
    #[arg(trailing_var_arg = true, required = true, value_names = ["IMAGE", "COMMAND"])]
    pub(super) words: Vec<String>,
}

impl Options {
    /// The image's name.
    pub(super) fn image(&self) -> &str {
        &self.words[0] // required
    }

    /// The command in place of the image's own.
    pub(super) fn command(&self) -> &[String] {
        &self.words[1..]
    }
}

/// When to pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Pull {
    /// Before every run.
    Always,
    /// If the image is not there.
    Missing,
    /// Not at all.
    Never,
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
        write_cidfile(path, container.id()).inspect_err(|_| drop(container.delete()))?;
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
    eprintln!("Unable to find image '{}' locally", reference.familiar());
    let pull = PullOptions { platform: options.image_args.platform.clone(), ..PullOptions::default() };
    super::pull::fetch(store, &reference, &pull, super::pull::Report::ToStderr)
}

/// Like Docker, never over an existing file: it may be the id of a container that somebody still counts on.
fn write_cidfile(path: &PathBuf, id: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(id.as_bytes()))
        .with_context(|| format!("write the container's id to {}", path.display()))
}
