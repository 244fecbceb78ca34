//! The flags of chapter 4, and what they ask for.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::compressed::unpack_compressed;
use crate::ids::beside;
use crate::isolation::Layers;
use crate::overlay::Upper;
use crate::remove::{random_name, remove_tree};
use crate::store::LayerStore;
use crate::unpack::UnpackOptions;

/// Which layers make the root. (Docker takes them from an image: chapter 6.)
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Layers")]
pub struct LayerArgs {
    /// A layer: a directory, or a tar, which is unpacked (may be repeated, the base first)
    #[arg(long = "layer", value_name = "DIR|TAR", required = true)]
    pub layers: Vec<PathBuf>,

    /// Keep what the container writes in this directory [default: thrown away]
    #[arg(long, value_name = "DIR")]
    pub upper: Option<PathBuf>,

    /// Keep unpacked tars here, for the next time [default: thrown away]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

impl LayerArgs {
    /// The layers as directories, the base first: tars are unpacked into the store, or below `scratch`.
    pub fn lower(&self, scratch: &Scratch) -> Result<Vec<PathBuf>> {
        match &self.store {
            Some(root) => {
                make_directory(root)?;
                lower(&self.layers, &LayerStore::open(&absolute(root)?)?)
            }
            None => lower(&self.layers, &scratch.store()?),
        }
    }

    /// The isolation that the flags describe. What is to be thrown away lies in `scratch`.
    pub fn isolation(&self, scratch: &Scratch) -> Result<Layers> {
        let upper = match &self.upper {
            None => Upper { upper: scratch.directory("upper")?, work: scratch.directory("work")?, volatile: true },
            Some(upper) => {
                make_directory(upper)?;
                let upper = absolute(upper)?;
                // On the same file system: the kernel moves finished copies from one to the other.
                let work = beside(&upper, "work")?.context("the root directory cannot be the upper directory")?;
                make_directory(&work)?;
                Upper { upper, work, volatile: false }
            }
        };
        Ok(Layers { lower: self.lower(scratch)?, upper, mountpoint: scratch.directory("merged")? })
    }
}

/// Layers as directories: tars are unpacked into the store.
pub fn lower(layers: &[PathBuf], store: &LayerStore) -> Result<Vec<PathBuf>> {
    let mut lower = Vec::new();
    for layer in layers {
        let context = || format!("use the layer {}", layer.display());
        lower.push(if fs::metadata(layer).with_context(context)?.is_dir() {
            absolute(layer)?
        } else {
            let file = File::open(layer).with_context(context)?;
            store.add(file, None).with_context(context)?.1
        });
    }
    Ok(lower)
}

/// Unpacks `tar` into `directory`, which must be new or empty.
pub fn unpack_file(tar: &Path, directory: &Path) -> Result<crate::Unpacked> {
    make_directory(directory)?;
    let empty = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?.next().is_none();
    ensure!(empty, "{} is not empty (a layer is unpacked into a directory of its own)", directory.display());
    let unpack = || -> Result<_> {
        if tar == Path::new("-") {
            return unpack_compressed(io::stdin(), directory, &UnpackOptions::default());
        }
        unpack_compressed(File::open(tar)?, directory, &UnpackOptions::default())
    };
    unpack().with_context(|| format!("unpack {}", tar.display()))
}

/// A directory for what ends with this program. Removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one below `$TMPDIR`, else `/tmp`.
    pub fn new() -> Result<Scratch> {
        Scratch::below(&std::env::temp_dir())
    }

    /// Makes one below `directory`.
    pub fn below(directory: &Path) -> Result<Scratch> {
        // Without links in it, for overlayfs and the mounts to come.
        let path = absolute(directory)?.join(format!("layers-{}", random_name()));
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Scratch(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A layer store in it.
    pub fn store(&self) -> Result<LayerStore> {
        Ok(LayerStore::open(&self.0)?.volatile())
    }

    /// A new directory in it.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        make_directory(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_tree(&self.0);
    }
}

/// Makes a directory where there is none.
fn make_directory(path: &Path) -> Result<()> {
    crate::ensure_directory(path, 0o755).with_context(|| format!("create the directory {}", path.display()))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("find {}", path.display()))
}
