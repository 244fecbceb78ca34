//! `ch06 run`: chapter 5's list, with the layers, the process and the user from an image.

use std::io::stderr;
use std::path::Path;

use anyhow::{Result, ensure};
use cgroups::CgroupArgs;
use clap::Args;
use images::{Image, ImageArgs, Lines, PullOptions, Reference, Store, process, user};
use layers::args::Scratch;
use layers::{Layers, Upper};
use namespaces::program::tell;
use namespaces::{Kind, NamespaceArgs, rootless};
use network::run::{collect_dead, passing_id, run_to_end};
use network::{Bridge, Mode, Network, NetworkArgs, file_mounts};
use rootfs::{Device, Root, RootfsArgs};

use crate::Wire;

/// The flags of all chapters so far.
#[derive(Args)]
#[command(args_override_self = true)]
pub struct Run {
    #[command(flatten)]
    image_args: ImageArgs,
    #[command(flatten)]
    wire: Wire,
    #[command(flatten)]
    files: RootfsArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    limits: CgroupArgs,
    #[command(flatten)]
    namespaces: NamespaceArgs,
    /// The image, and a command with its arguments in place of the image's
    // One list, so that whatever follows the image is the command's own, flags included.
    #[arg(trailing_var_arg = true, required = true, value_names = ["IMAGE", "COMMAND"])]
    words: Vec<String>,
}

impl Run {
    fn image(&self) -> &str {
        &self.words[0] // required
    }
}

/// Runs a container to its end; gives its exit status.
pub fn run(root: &Path, store: &Store, mut args: Run) -> Result<i32> {
    // For as long as the container lives: nobody else knows which layers it stands on.
    let _lease = store.lease()?;
    let image = find_or_pull(store, &args)?;
    let overrides = args.image_args.overrides(&args.words[1..], args.files.workdir.clone())?;
    let mut process = process(&image.config, &overrides)?;
    process.init = args.namespaces.init;

    let scratch = Scratch::below(store.tmp())?;
    let upper = Upper { upper: scratch.directory("upper")?, work: scratch.directory("work")?, volatile: true };
    let layers = Layers { lower: store.layer_dirs(&image)?, upper, mountpoint: scratch.directory("merged")? };

    let shared = args.namespaces.share.contains(&Kind::Net);
    let default = match (shared, rootless()) {
        (true, _) => Mode::Host,
        (false, true) => Mode::None,
        (false, false) => Mode::Bridge,
    };
    let options = args.network.options(default)?;
    ensure!(!shared || options.mode == Mode::Host, "--share net and --network {} contradict each other", options.mode);
    args.namespaces.share.push(Kind::Net); // left to the network
    let id = passing_id();
    let bridge = Bridge::derive(root);
    if options.mode == Mode::Bridge && !rootless() {
        collect_dead(&bridge)?;
    }
    let hostname = args.namespaces.hostname.get_or_insert_with(|| id.clone()).clone();
    process.set_env_default("HOSTNAME", &hostname);
    let files = scratch.directory("files")?;
    let network = Network::new(options, bridge, &id, &hostname, Some(files.clone()));
    let handle = network.handle();

    let mut rootfs = args.files.rootfs(Root::Mounted(layers.mountpoint.clone()))?;
    rootfs.mounts.extend(file_mounts(&files, &rootfs.mounts));
    args.limits.device_cgroup_rule.extend(rootfs.devices.iter().map(Device::rule));

    let mut isolations = args.limits.isolations(&args.namespaces, "ch06", &id)?;
    isolations.push(Box::new(network));
    isolations.push(Box::new(layers));
    isolations.push(Box::new(rootfs));
    isolations.push(Box::new(user(&image.config, &overrides)));
    Ok(run_to_end(process, isolations, &handle, |_| {})?.code())
}

fn find_or_pull(store: &Store, args: &Run) -> Result<Image> {
    if let Some(image) = store.find(args.image())? {
        return Ok(image);
    }
    let name: Reference = args.image().parse()?;
    tell(format!("Unable to find image '{}' locally", name.familiar()));
    let options = PullOptions { platform: args.image_args.platform.clone(), connection: args.wire.connection() };
    store.pull(&name, &options, &Lines::of_pull(stderr()))
}
