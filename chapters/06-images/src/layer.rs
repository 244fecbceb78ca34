//! Layers in the store: as blobs, to be sent on, and as directories, to be mounted.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use layers::{Digest, Hashing};

use crate::Store;
use crate::image::{Image, UNPACKED_SIZE};
use crate::manifest::{Descriptor, OCI_LAYER_GZIP};

/// A layer that was added to the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The blob, for the manifest.
    pub blob: Descriptor,
    /// The digest of the uncompressed tar, for the config.
    pub diff_id: Digest,
    /// Where it is unpacked: a lowerdir.
    pub dir: PathBuf,
}

impl Store {
    /// Adds a layer. `write` writes its tar: `layers::pack`, or `std::io::copy` from a file.
    ///
    /// The same tar gives the same blob: compression is fast and says nothing of when or where it happened.
    pub fn add_layer(&self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<Layer> {
        let mut gzip = GzBuilder::new().write(self.layout.writer()?, Compression::fast());
        let mut tar = Hashing::new(&mut gzip);
        write(&mut tar)?;
        let (diff_id, _) = tar.finish();
        let blob = gzip.finish().context("compress the layer")?.commit(OCI_LAYER_GZIP)?;
        let dir = self.layer_dir(&blob, &diff_id)?;
        Ok(Layer { blob, diff_id, dir })
    }

    /// The directory of a layer, which is unpacked from its blob if it is not there.
    pub(crate) fn layer_dir(&self, blob: &Descriptor, diff_id: &Digest) -> Result<PathBuf> {
        if let Some(dir) = self.layers.get(diff_id) {
            return Ok(dir);
        }
        let file = self.layout.open_blob(&blob.digest)?;
        let (_, dir) = self.layers.add(file, Some(diff_id)).with_context(|| format!("unpack layer {}", blob.digest))?;
        Ok(dir)
    }

    /// Unpacks a layer that is just arriving; reads nothing if it is unpacked already.
    pub(crate) fn unpack_layer(&self, source: impl Read + Send, diff_id: &Digest) -> Result<()> {
        match self.layers.get(diff_id) {
            Some(_) => Ok(()),
            None => self.layers.add(source, Some(diff_id)).map(drop),
        }
    }

    /// The annotation that remembers how large an image's files are, if its layers are unpacked.
    pub(crate) fn measured(&self, image: &Image) -> Option<(String, String)> {
        let sizes = image.diff_ids().iter().map(|diff_id| self.layers.contents(diff_id).map(|contents| contents.size));
        let size = sizes.sum::<Result<u64>>().ok()?;
        Some((UNPACKED_SIZE.to_owned(), size.to_string()))
    }

    /// Removes the unpacked layers that are not among `needed`.
    pub(crate) fn remove_layers(&self, needed: &HashSet<Digest>) -> Result<Vec<Digest>> {
        let mut removed = self.layers.list()?;
        removed.retain(|diff_id| !needed.contains(diff_id));
        for diff_id in &removed {
            self.layers.remove(diff_id)?;
        }
        Ok(removed)
    }
}
