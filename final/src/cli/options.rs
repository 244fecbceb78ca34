//! The options that `run` and `create` share.

use std::path::PathBuf;

use cgroups::CgroupArgs;
use clap::{Args, ValueEnum};
use images::ImageArgs;
use network::NetworkArgs;
use rootfs::RootfsArgs;

use crate::privileges::PrivilegeArgs;
use crate::sharing::SharingArgs;
use crate::volumes::VolumesFrom;

/// What a container is made of.
#[derive(Args)]
pub struct Options {
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,

    /// Name of the container
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,

    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// Anything to find it by later, KEY=VALUE
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,

    /// Anything that other tools are to know of it, KEY=VALUE
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub annotations: Vec<String>,

    /// The signal that asks it to stop, by name or number [default: the image's, else SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,

    /// Seconds that `stop` waits before it kills
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<u64>,

    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub pull: Pull,

    /// Write the container's id to this file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,

    /// Mount what another container has of volumes, on the same places
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub volumes_from: Vec<VolumesFrom>,

    /// Who keeps volumes; there is local only
    #[arg(long, value_name = "DRIVER", value_parser = ["local"])]
    pub volume_driver: Option<String>,

    #[command(flatten)]
    pub image_args: ImageArgs,
    #[command(flatten)]
    pub rootfs: RootfsArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    #[command(flatten)]
    pub cgroup: CgroupArgs,
    #[command(flatten)]
    pub privileges: PrivilegeArgs,
    #[command(flatten)]
    pub sharing: SharingArgs,

    /// The image, and a command with its arguments in place of the image's
    // One list, so that whatever follows the image is the command's own, flags included.
    #[arg(trailing_var_arg = true, required = true, value_names = ["IMAGE", "COMMAND"])]
    pub words: Vec<String>,
}

impl Options {
    /// The image's name.
    pub fn image(&self) -> &str {
        &self.words[0] // required
    }

    /// The command in place of the image's own.
    pub fn command(&self) -> &[String] {
        &self.words[1..]
    }
}

/// When to pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    /// Before every run.
    Always,
    /// If the image is not there.
    Missing,
    /// Not at all.
    Never,
}
