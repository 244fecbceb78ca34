//! `minidocker save`.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::root::Root;

/// Write images to an archive, which `load`, Docker, Podman and skopeo read.
#[derive(Args)]
pub struct Save {
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Carries the command out.
pub fn run(root: &Root, args: &Save) -> Result<i32> {
    let store = root.store()?;
    let Some(path) = &args.output else {
        let stdout = io::stdout();
        ensure!(!stdout.is_terminal(), "an archive does not belong on a terminal: use -o FILE, or redirect the output");
        let mut out = BufWriter::new(stdout.lock());
        store.save(&args.images, &mut out)?;
        out.flush().context("write the archive")?;
        return Ok(0);
    };
    // Beside it first: a save that fails leaves what was there before.
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = File::create(&part).context("create it").and_then(|file| {
        let mut out = BufWriter::new(file);
        store.save(&args.images, &mut out)?;
        out.flush().context("write it")?;
        fs::rename(&part, path).context("rename it into place")
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written.with_context(|| format!("cannot save to {}", path.display()))?;
    Ok(0)
}
