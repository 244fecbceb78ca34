//! `minidocker load`.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::format::say;
use crate::root::Root;

/// Read images from an archive of `save`, Docker, Podman or skopeo.
#[derive(Args)]
pub struct Load {
    /// Read this file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Do not say what was loaded
    #[arg(short, long)]
    quiet: bool,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Load) -> Result<i32> {
    let store = root.store()?;
    let loaded = match &args.input {
        Some(path) => {
            let cannot = || format!("cannot load {}", path.display());
            store.load(BufReader::new(File::open(path).with_context(cannot)?)).with_context(cannot)?
        }
        None => {
            let stdin = io::stdin();
            ensure!(!stdin.is_terminal(), "there is no archive on standard input: use -i FILE, or redirect one in");
            store.load(stdin)?
        }
    };
    for loaded in loaded {
        if args.quiet {
            continue;
        }
        if loaded.names.is_empty() {
            say(format_args!("Loaded image ID: {}", loaded.id))?;
        }
        for name in &loaded.names {
            say(format_args!("Loaded image: {}", name.familiar()))?;
        }
    }
    Ok(0)
}
