//! Unpacked layers, each once, under its diff ID, shared by all images and containers.
//!
//! ```text
//! ROOT/layers/<64 hex digits>/diff         the layer in overlayfs's form: a lowerdir
//! ROOT/layers/<64 hex digits>/layer.json   {"size":…,"entries":…}
//! ROOT/layers/.partial-<random>/           being unpacked, its directory locked; or left behind by a killed engine
//! ```
//!
//! A layer appears by one rename, complete, and goes by one rename. Several processes may add the same one at once; one of
//! them wins, and all are content.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, syncfs};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::compressed::{Unpacked, unpack_compressed};
use crate::digest::Digest;
use crate::remove::{random_name, remove_tree};
use crate::unpack::{Contents, UnpackOptions};

const PARTIAL: &str = ".partial-";

/// The layers below one `ROOT`.
#[derive(Clone, Debug)]
pub struct LayerStore {
    directory: PathBuf,
    durable: bool,
}

/// The `layer.json` beside a layer.
#[derive(Serialize, Deserialize)]
struct Sizes {
    size: u64,
    entries: u64,
}

impl LayerStore {
    /// Opens the store in `ROOT/layers`, which is made if it is missing, and removes what killed engines left half done.
    ///
    /// Only the owner may enter: a layer's set-uid programs are not for the users of the host (CVE-2021-41091).
    pub fn open(root: &Path) -> Result<LayerStore> {
        let directory = root.join("layers");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("create the layer store {}", directory.display()))?;
        let store = LayerStore { directory, durable: true };
        store.sweep();
        Ok(store)
    }

    /// The same store without waiting for the disk after each layer: for one that ends with its program.
    pub fn volatile(self) -> LayerStore {
        LayerStore { durable: false, ..self }
    }

    /// The lowerdir of a layer, if it is here.
    pub fn get(&self, diff_id: &Digest) -> Option<PathBuf> {
        let diff = self.path(diff_id).join("diff");
        diff.is_dir().then_some(diff)
    }

    /// Unpacks a layer (a tar, compressed or not) and keeps it under its diff ID, having checked this against `expected`, if
    /// it is known. Gives the layer's lowerdir as well.
    pub fn add(&self, layer: impl Read + Send, expected: Option<&Digest>) -> Result<(Unpacked, PathBuf)> {
        self.add_checked(layer, |unpacked| {
            let Some(expected) = expected else { return Ok(()) };
            let found = &unpacked.diff_id;
            ensure!(
                found == expected,
                "the layer's content does not match its diff ID: expected {expected}, got {found}"
            );
            Ok(())
        })
    }

    /// Like [`LayerStore::add`], with any check of what the stream turned out to be. It happens before the layer is seen by
    /// anyone.
    pub fn add_checked(
        &self,
        layer: impl Read + Send,
        check: impl FnOnce(&Unpacked) -> Result<()>,
    ) -> Result<(Unpacked, PathBuf)> {
        let partial = Partial::new(&self.directory)?;
        let unpacked = unpack_compressed(layer, &partial.path.join("diff"), &UnpackOptions::default())?;
        check(&unpacked)?;
        let path = self.path(&unpacked.diff_id);
        partial
            .publish(&path, unpacked.contents, self.durable)
            .with_context(|| format!("store the layer {}", unpacked.diff_id))?;
        Ok((unpacked, path.join("diff")))
    }

    /// Size of the layer's files and number of its entries.
    pub fn contents(&self, diff_id: &Digest) -> Result<Contents> {
        let path = self.path(diff_id).join("layer.json");
        let read = || -> Result<Contents> {
            let Sizes { size, entries } = serde_json::from_reader(File::open(&path)?)?;
            Ok(Contents { entries, size, noted: 0 })
        };
        read().with_context(|| format!("read {} (remove the image and pull it again)", path.display()))
    }

    /// The diff IDs of all layers, sorted.
    pub fn list(&self) -> Result<Vec<Digest>> {
        let mut layers: Vec<Digest> = self
            .names()
            .with_context(|| format!("list the layers in {}", self.directory.display()))?
            .iter()
            .filter_map(|name| format!("sha256:{name}").parse().ok())
            .collect();
        layers.sort();
        Ok(layers)
    }

    /// Removes a layer; `false` if it was not here. That nobody uses it, image or container, is the caller's to know.
    pub fn remove(&self, diff_id: &Digest) -> Result<bool> {
        let gone = self.directory.join(format!("{PARTIAL}{}", random_name()));
        match renameat_with(CWD, self.path(diff_id), CWD, &gone, RenameFlags::NOREPLACE) {
            Err(Errno::NOENT) => return Ok(false),
            renamed => renamed.with_context(|| format!("remove the layer {diff_id}"))?,
        }
        remove_tree(&gone).with_context(|| format!("remove the layer {diff_id}"))?;
        Ok(true)
    }

    fn path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(diff_id.hex())
    }

    /// Removes what others left half done. A lock tells the living from the dead: it ends with its process.
    fn sweep(&self) {
        for name in self.names().unwrap_or_default() {
            let path = self.directory.join(&name);
            if name.starts_with(PARTIAL) && lock(&path).is_ok_and(|lock| lock.is_some()) {
                // What cannot be removed now hides nothing, and the next one tries again.
                let _ = remove_tree(&path);
            }
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names =
            fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.collect()
    }
}

/// A layer being unpacked. Dropped before it is published, it takes its files with it.
struct Partial {
    path: PathBuf,
    _lock: File,
}

impl Partial {
    fn new(directory: &Path) -> Result<Partial> {
        let context = || format!("create a directory in {}", directory.display());
        loop {
            let path = directory.join(format!("{PARTIAL}{}", random_name()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.with_context(context)?,
            }
            // Between the two calls a sweep may have taken it for abandoned.
            let Some(_lock) = lock(&path).with_context(context)? else { continue };
            crate::make_directory(&path.join("diff"), 0o755).with_context(context)?;
            return Ok(Partial { path, _lock });
        }
    }

    fn publish(self, path: &Path, contents: Contents, durable: bool) -> Result<()> {
        let sizes = Sizes { size: contents.size, entries: contents.entries };
        fs::write(self.path.join("layer.json"), serde_json::to_vec(&sizes)?).context("write layer.json")?;
        // A power cut after the rename must not leave a layer whose name is there and whose bytes are not.
        if durable {
            syncfs(&self._lock).context("write to disk")?;
        }
        match renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
            // Somebody was faster with the same content; ours goes.
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error).context("rename"),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = remove_tree(&self.path);
    }
}

/// Locks a directory; `None` if somebody else has, or if it is gone.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let directory = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN) => return Ok(None),
        locked => locked?,
    }
    Ok((directory.metadata()?.nlink() > 0).then_some(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar with nothing in it.
    const EMPTY: [u8; 1024] = [0; 1024];

    fn names(root: &Path) -> Vec<String> {
        LayerStore::open(root).unwrap().names().unwrap()
    }

    #[test]
    fn a_layer_appears_once_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let store = LayerStore::open(root.path()).unwrap().volatile();
        let diff_id = Digest::of(EMPTY);
        assert_eq!(store.get(&diff_id), None);
        let (unpacked, path) = store.add(&EMPTY[..], Some(&diff_id)).unwrap();
        assert_eq!((&unpacked.diff_id, &unpacked.digest), (&diff_id, &diff_id));
        assert_eq!(store.add(&EMPTY[..], None).unwrap().1, path);
        assert_eq!(store.get(&diff_id), Some(path));
        assert_eq!(store.list().unwrap(), std::slice::from_ref(&diff_id));
        assert_eq!(store.contents(&diff_id).unwrap(), Contents::default());
        assert!(store.remove(&diff_id).unwrap() && !store.remove(&diff_id).unwrap());
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn what_is_wrong_never_appears() {
        let root = tempfile::tempdir().unwrap();
        let store = LayerStore::open(root.path()).unwrap().volatile();
        let error = store.add(&EMPTY[..], Some(&Digest::of("else"))).unwrap_err();
        assert!(format!("{error:#}").contains("does not match its diff ID"));
        assert!(store.add(&b"this is not an archive"[..], None).is_err());
        assert!(store.add(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0][..], None).is_err());
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn the_abandoned_is_swept_and_the_living_left() {
        let root = tempfile::tempdir().unwrap();
        let store = LayerStore::open(root.path()).unwrap();
        fs::create_dir_all(store.directory.join(".partial-abandoned/diff/etc")).unwrap();
        let living = Partial::new(&store.directory).unwrap();
        let name = living.path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(names(root.path()), [name]);
        drop(living);
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn many_add_the_same() {
        let root = tempfile::tempdir().unwrap();
        let store = LayerStore::open(root.path()).unwrap().volatile();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| LayerStore::open(root.path()).unwrap().volatile().add(&EMPTY[..], None).unwrap());
            }
        });
        assert_eq!(store.list().unwrap(), [Digest::of(EMPTY)]);
        assert_eq!(names(root.path()).len(), 1);
    }
}
