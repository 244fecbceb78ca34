//! Unpacking: a layer tar becomes a directory in overlayfs's form.

use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rustix::fd::BorrowedFd;
use rustix::fs::ftruncate;

use crate::entry::{Entries, Entry, EntryKind};
use crate::name::Target;
use crate::privilege::{OverlayXattrs, Owners};
use crate::sparse::Extent;
use crate::tree::Tree;

/// Bytes handed to the kernel at a time: large enough that the calls do not count, small enough for the cache.
const CHUNK: usize = 128 << 10;
/// The smallest hole: what file systems give out at once.
const PAGE: usize = 4096;
const ZEROS: [u8; PAGE] = [0; PAGE];

/// How to unpack.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    /// Whether files get the archive's owners.
    pub owners: Owners,
    /// How opaque directories are marked.
    pub overlay_xattrs: OverlayXattrs,
    /// At most so many entries.
    pub max_entries: u64,
    /// At most so many bytes, of the uncompressed archive and of the files in it (holes included).
    pub max_size: u64,
}

impl Default for UnpackOptions {
    /// What the caller's rights permit. The bounds are far beyond images in use and within what a machine survives: a gzip
    /// bomb grows a thousandfold, and a sparse file as much as it likes.
    fn default() -> UnpackOptions {
        UnpackOptions {
            owners: Owners::permitted(),
            overlay_xattrs: OverlayXattrs::permitted(),
            max_entries: 10_000_000,
            max_size: 256 << 30,
        }
    }
}

/// What an archive contained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its entries.
    pub entries: u64,
    /// Bytes of the regular files, holes included: what Docker shows as a layer's size.
    pub size: u64,
    /// Of so many we could not keep all: an owner, a device, an attribute that only root may give. It is noted beside the
    /// layer, and packing reads the notes.
    pub noted: u64,
}

/// Unpacks one layer, an uncompressed tar, into the existing and empty directory `into`, in overlayfs's form: whiteouts as
/// character devices 0:0, opaque directories by extended attribute.
///
/// The archive is read to its very end, zeros after the last entry included, because its digest covers them. Whatever the
/// archive says, nothing outside of `into` is touched; on an error, what is there is incomplete and should be removed.
pub fn unpack(tar: impl Read, into: &Path, options: &UnpackOptions) -> Result<Contents> {
    let mut tree = Tree::open(into, options.owners, options.overlay_xattrs)?;
    let mut entries = Entries::new(Bounded { stream: tar, left: options.max_size });
    let mut contents = Contents::default();
    let mut buffer = vec![0; CHUNK];
    while let Some(entry) = entries.next()? {
        contents.entries += 1;
        contents.size = contents.size.saturating_add(entry.size);
        ensure!(contents.entries <= options.max_entries, "the layer has more than {} entries", options.max_entries);
        ensure!(contents.size <= options.max_size, "the layer's files are larger than {} bytes", options.max_size);
        apply(&mut tree, &entry, &mut entries, &mut buffer)
            .with_context(|| format!("unpack {:?}", String::from_utf8_lossy(&entry.name)))?;
    }
    let mut rest = entries.into_inner();
    while rest.read(&mut buffer).context("read the archive")? > 0 {}
    let notes = tree.finish()?;
    contents.noted = notes.len();
    notes.write_beside(into)?;
    Ok(contents)
}

fn apply(tree: &mut Tree, entry: &Entry, data: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    let (parent, name) = match Target::parse(&entry.name)? {
        Target::Ignored => return Ok(()),
        Target::Whiteout(parent, name) => return tree.whiteout(&parent, &name, entry.mtime),
        Target::Opaque(directory) => return tree.opaque(&directory, entry.mtime),
        Target::Root if entry.kind == EntryKind::Directory => return tree.root(entry),
        Target::Root => bail!("the root of a layer can only be a directory"),
        Target::Place(parent, name) => (parent, name),
    };
    match entry.kind {
        EntryKind::File => tree.file(&parent, &name, entry, |file| fill(file, entry, data, buffer)),
        EntryKind::Directory => tree.directory(&parent, &name, entry),
        EntryKind::Symlink => tree.symlink(&parent, &name, entry),
        EntryKind::Fifo | EntryKind::CharDevice(..) | EntryKind::BlockDevice(..) => tree.node(&parent, &name, entry),
        EntryKind::HardLink => {
            let shown = String::from_utf8_lossy(&entry.link);
            let Target::Place(directory, target) = Target::parse(&entry.link)? else {
                bail!("a hard link to {shown:?}, which is no file");
            };
            tree.hard_link(&parent, &name, (&directory, &target), entry.mtime)
                .with_context(|| format!("a hard link to {shown:?}"))
        }
    }
}

/// Copies the stored bytes to where they belong in the file.
fn fill(file: BorrowedFd<'_>, entry: &Entry, data: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    let whole = [Extent { offset: 0, length: entry.size }];
    for extent in entry.extents.as_deref().unwrap_or(&whole) {
        copy(file, *extent, data, buffer)?;
    }
    // The file may end in a hole.
    ftruncate(file, entry.size).context("set its length")
}

/// Copies the bytes of one piece. What of them is zeros is left a hole: to a reader it is the same, and a sparse file that
/// was packed, holes and all, takes no more room than it did.
fn copy(file: BorrowedFd<'_>, piece: Extent, data: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    let Extent { mut offset, length } = piece;
    let end = offset + length;
    while offset < end {
        let wanted = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
        let bytes = &mut buffer[..wanted];
        data.read_exact(bytes).context("read the archive")?;
        let mut written = 0;
        for page in (0..wanted).step_by(PAGE) {
            let next = wanted.min(page + PAGE);
            if bytes[page..next] == ZEROS[..next - page] {
                write(file, offset + written as u64, &bytes[written..page])?;
                written = next;
            }
        }
        write(file, offset + written as u64, &bytes[written..])?;
        offset += wanted as u64;
    }
    Ok(())
}

fn write(file: BorrowedFd<'_>, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::pwrite(file, bytes, offset).context("write")?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Ends in an error where [`Read::take`] would pretend that the stream ends.
struct Bounded<R> {
    stream: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| io::Error::other("the archive is too large"))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
