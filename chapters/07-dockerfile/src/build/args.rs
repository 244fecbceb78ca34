//! The flags of `build`, spelled as Docker spells them.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use network::Mode;

/// What to build, and how.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BuildArgs {
    /// Name the image (may be repeated)
    #[arg(short, long, value_name = "NAME[:TAG]")]
    pub tag: Vec<String>,

    /// The Dockerfile; - for standard input [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Set a variable that the Dockerfile declares with ARG (KEY alone takes it from here)
    #[arg(long = "build-arg", value_name = "KEY[=VALUE]")]
    pub build_args: Vec<BuildArg>,

    /// Build only this stage, by name or number, and what it needs
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,

    /// Run every step again
    #[arg(long)]
    pub no_cache: bool,

    /// Ask the registry for newer base images
    #[arg(long)]
    pub pull: bool,

    /// The network of RUN: none, host or bridge [default: bridge, without root none]
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<Mode>,

    /// Add a label to the image (may be repeated)
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,

    /// Print nothing but the image's ID
    #[arg(short, long)]
    pub quiet: bool,

    /// Write the image's ID to this file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,

    /// How to show progress: only plain
    #[arg(long, value_name = "MODE", value_parser = ["plain", "auto"], default_value = "auto", hide = true)]
    pub progress: String,

    /// The directory whose files COPY and ADD can take; - for a Dockerfile, or a tar with both, on standard input
    #[arg(value_name = "PATH|-")]
    pub context: PathBuf,
}

/// `--build-arg KEY=VALUE`, or `KEY` for a variable of our own environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildArg {
    /// The variable.
    pub name: String,
    /// Its value; `None` if only a name was given and our environment does not have it.
    pub value: Option<String>,
}

impl FromStr for BuildArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, std::env::var(text).ok()),
        };
        if name.is_empty() {
            bail!("a name is missing before the =");
        }
        Ok(BuildArg { name: name.to_owned(), value })
    }
}
