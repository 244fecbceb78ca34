//! An OCI image layout: a directory of blobs named by their digests, and an index that names some of them.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>
//!
//! ```text
//! oci-layout          {"imageLayoutVersion":"1.0.0"}
//! index.json          an index; its annotations give manifests their names
//! blobs/sha256/4bcf…  configs, manifests, layers
//! ```
//!
//! Several processes use one layout at once. A blob appears whole, under the digest that its bytes have, or not at all; the
//! index is replaced as a whole by whoever holds the lock, so readers need none.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use layers::{Digest, Hashing};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::manifest::{Descriptor, OCI_INDEX};

/// The file that says that a directory is a layout.
pub(crate) const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// A layout on disk.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
    /// Where files grow until they may be seen. On the layout's file system, for `rename(2)`.
    tmp: PathBuf,
}

impl Layout {
    /// Opens the layout at `dir`, making it if it is not there; `tmp` is for files in the making.
    pub fn open(dir: &Path, tmp: &Path) -> Result<Layout> {
        let layout = Layout { dir: dir.to_owned(), tmp: tmp.to_owned() };
        if !dir.join("oci-layout").exists() || !tmp.exists() {
            for path in [&dir.join("blobs/sha256"), tmp] {
                fs::create_dir_all(path).with_context(|| format!("make the image store {}", path.display()))?;
            }
            layout.replace("oci-layout", MARKER.as_bytes())?;
        }
        Ok(layout)
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    /// Whether the blob is there. One of a wrong size (a disk was full, a machine crashed) counts as missing.
    pub fn has(&self, blob: &Descriptor) -> bool {
        fs::metadata(self.path(&blob.digest)).is_ok_and(|file| file.is_file() && file.len() == blob.size)
    }

    /// Reads a small blob into memory and checks it. `limit`: bytes.
    pub fn read(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        let what = || format!("read blob {}", blob.digest);
        ensure!(blob.size <= limit, "blob {} is too large: {} bytes, at most {limit}", blob.digest, blob.size);
        let mut bytes = Vec::new();
        File::open(self.path(&blob.digest))
            .and_then(|file| file.take(blob.size + 1).read_to_end(&mut bytes))
            .with_context(what)?;
        ensure!(Digest::of(&bytes) == blob.digest, "blob {} is damaged on disk", blob.digest);
        Ok(bytes)
    }

    /// Opens a large blob; whoever reads it checks it.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).with_context(|| format!("open blob {digest}"))
    }

    /// Stores a small blob.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        if !self.has(&descriptor) {
            let mut writer = self.writer()?;
            writer.write_all(bytes).with_context(|| format!("write blob {}", descriptor.digest))?;
            writer.commit_as(&descriptor)?;
        }
        Ok(descriptor)
    }

    /// Starts a blob whose digest will be known at its end.
    pub fn writer(&self) -> Result<BlobWriter> {
        let file =
            NamedTempFile::new_in(&self.tmp).with_context(|| format!("make a file in {}", self.tmp.display()))?;
        Ok(BlobWriter { layout: self.clone(), file, hash: Hashing::new(io::sink()) })
    }

    /// What the index lists, in its order.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        Ok(self.table()?.manifests)
    }

    /// Changes the index, alone.
    pub fn update<T>(&self, change: impl FnOnce(&mut Vec<Entry>) -> Result<T>) -> Result<T> {
        let lock = File::create(self.dir.join("index.lock")).context("open the lock of the image store")?;
        lock.lock().context("lock the image store")?;
        let mut table = self.table()?;
        let before = table.clone();
        let value = change(&mut table.manifests)?;
        if table != before {
            self.replace("index.json", &serde_json::to_vec(&table)?)?;
        }
        Ok(value)
    }

    /// The digests of all blobs, and files that are called otherwise.
    pub fn blobs(&self) -> Result<Vec<(PathBuf, Option<Digest>)>> {
        let dir = self.dir.join("blobs/sha256");
        let files = fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
        let named = files.map(|file| {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let digest = format!("sha256:{name}").parse().ok();
            Ok((path, digest))
        });
        named.collect::<io::Result<_>>().with_context(|| format!("list {}", dir.display()))
    }

    fn table(&self) -> Result<Table> {
        let path = self.dir.join("index.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                let path = path.display();
                format!("{path} is damaged (move it away to start with an empty list; the blobs stay)")
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Table::default()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let write = || -> io::Result<()> {
            let mut file = NamedTempFile::new_in(&self.tmp)?;
            file.write_all(bytes)?;
            file.as_file().set_permissions(Permissions::from_mode(0o644))?;
            // An index that a power cut leaves empty would take every image with it.
            file.as_file().sync_data()?;
            file.persist(&path)?;
            Ok(())
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

/// A blob in the making: hashed while it is written, visible once its digest is right.
pub struct BlobWriter {
    layout: Layout,
    file: NamedTempFile,
    hash: Hashing<io::Sink>,
}

impl BlobWriter {
    /// Makes the blob visible under the digest that it has.
    pub fn commit(self, media_type: &str) -> Result<Descriptor> {
        let (digest, size) = self.hash.finish();
        publish(&self.layout, self.file, &digest)?;
        Ok(Descriptor::new(media_type, digest, size))
    }

    /// Makes the blob visible if it is what was expected.
    pub fn commit_as(self, expected: &Descriptor) -> Result<()> {
        let (digest, size) = self.hash.finish();
        ensure!(size == expected.size, "blob {} has {size} bytes instead of {}", expected.digest, expected.size);
        ensure!(digest == expected.digest, "wrong digest: what was sent as {} is {digest}", expected.digest);
        publish(&self.layout, self.file, &digest)
    }
}

fn publish(layout: &Layout, file: NamedTempFile, digest: &Digest) -> Result<()> {
    let rename = || -> io::Result<()> {
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.persist(layout.path(digest))?;
        Ok(())
    };
    rename().with_context(|| format!("store blob {digest}"))
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.write_all(&bytes[..count])?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// An element of the index. What cannot be read is kept as it is: a damaged entry is shown, and hides nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// A manifest.
    Sound(Descriptor),
    /// Something else.
    Damaged(Value),
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Vec<Entry>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

impl Default for Table {
    fn default() -> Self {
        let media_type = Some(OCI_INDEX.to_owned());
        Table { schema_version: 2, media_type, manifests: Vec::new(), other: BTreeMap::new() }
    }
}
