//! Packing: a directory in overlayfs's form becomes a layer tar, and the same directory always the same tar.
//!
//! Entries are sorted, owners are numbers only, times are the files' own to the nanosecond, and nothing of this machine or
//! this moment gets in. What the disk could not keep of a layer is taken from the notes beside it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags, openat};

use crate::below::{Before, Below};
use crate::digest::{Digest, Hashing};
use crate::entry::{Entry, EntryKind};
use crate::name::{is_reserved, opaque_marker_of, whiteout_of};
use crate::notes::Notes;
use crate::unpack::Contents;
use crate::walk::{Found, walk};
use crate::write::{END, blocks_of, padding};

const CHUNK: usize = 128 << 10;

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The digest of the tar.
    pub diff_id: Digest,
    /// Its length in bytes.
    pub tar_size: u64,
    /// What is in it.
    pub contents: Contents,
}

/// Writes the writable directory of an overlay, or any directory, as a layer tar.
///
/// Not in it: the directory itself, sockets (they mean nothing without their process), overlayfs's notes, SELinux labels.
/// Holes of sparse files are written as zeros: where they lie is the file system's choice, and would be in the digest.
///
/// # Errors
/// A name that begins with `.wh.` cannot be told from a whiteout in a layer tar, and is refused.
pub fn pack(upper: &Path, out: impl Write) -> Result<Packed> {
    pack_with(upper, None, out)
}

/// Like [`pack`], knowing the layers below (the base first). Overlayfs marks every new directory as opaque, to save itself
/// lookups; where there is nothing to hide the tar is shorter without saying so, and the same as Docker would make. And
/// what an ordinary user's container changed keeps the owner that it has in the layer below.
pub fn pack_above(upper: &Path, lower: &[PathBuf], out: impl Write) -> Result<Packed> {
    pack_with(upper, Some(&Below::open(lower)?), out)
}

fn pack_with(upper: &Path, below: Option<&Below>, out: impl Write) -> Result<Packed> {
    let mut packer = Packer {
        out: BufWriter::with_capacity(CHUNK, Hashing::new(out)),
        first_names: HashMap::new(),
        notes: Notes::beside(upper)?,
        contents: Contents::default(),
        buffer: vec![0; CHUNK],
    };
    let pack = || -> Result<Packed> {
        walk(upper, &mut |found| {
            let before = below.map(|below| below.find(found.path)).transpose()?.flatten();
            packer.devices(Some(found.path))?;
            packer.add(found, before.as_ref())?;
            if found.is_opaque() && (below.is_none() || before.is_some()) {
                packer.marker(&opaque_marker_of(found.path))?;
            }
            Ok(())
        })?;
        packer.devices(None)?;
        packer.finish()
    };
    pack().with_context(|| format!("pack the layer {}", upper.display()))
}

struct Packer<W: Write> {
    out: BufWriter<Hashing<W>>,
    /// Under which name each file with several was packed.
    first_names: HashMap<(u64, u64), PathBuf>,
    notes: Notes,
    contents: Contents,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<W> {
    fn add(&mut self, found: &Found<'_>, before: Option<&Before<'_>>) -> Result<()> {
        ensure!(
            !is_reserved(found.name),
            "the name {:?} means a removed file in a layer and cannot be kept (rename it)",
            found.name
        );
        if found.is_whiteout() {
            return self.marker(&found.path.with_file_name(whiteout_of(found.name)));
        }
        let Some(mut entry) = found.entry()? else {
            // What the socket took the place of is gone all the same.
            return before.map_or(Ok(()), |_| self.marker(&found.path.with_file_name(whiteout_of(found.name))));
        };
        entry.name = found.path.as_os_str().as_bytes().to_vec();
        if entry.kind == EntryKind::Directory {
            entry.name.push(b'/');
        }
        if let Some(note) = self.notes.take(found.path, entry.kind) {
            (entry.uid, entry.gid) = (note.uid, note.gid);
            entry.xattrs.extend(note.xattrs);
            entry.xattrs.sort();
        } else if let Some(note) = before.and_then(|before| before.note).filter(|note| note.kind == entry.kind) {
            // A copy of what an ordinary user could not keep: root's in the container, somebody else's in truth.
            entry.uid = if entry.uid == 0 { note.uid } else { entry.uid };
            entry.gid = if entry.gid == 0 { note.gid } else { entry.gid };
        }
        if entry.kind != EntryKind::Directory && found.stat.st_nlink > 1 {
            let file = (found.stat.st_dev, found.stat.st_ino);
            if let Some(first) = self.first_names.get(&file) {
                // With mode, owner and time like the first: Docker sets them again from here.
                let link = first.as_os_str().as_bytes().to_vec();
                return self.entry(&Entry { kind: EntryKind::HardLink, link, size: 0, xattrs: Vec::new(), ..entry });
            }
            self.first_names.insert(file, found.path.to_owned());
        }
        self.entry(&entry)?;
        if entry.kind == EntryKind::File { self.content(found, entry.size) } else { Ok(()) }
    }

    /// The devices up to `path` that could not be made here.
    fn devices(&mut self, path: Option<&Path>) -> Result<()> {
        if self.notes.is_empty() {
            return Ok(());
        }
        self.notes.take_devices(path).iter().try_for_each(|device| self.entry(device))
    }

    fn content(&mut self, found: &Found<'_>, size: u64) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(openat(found.dir, found.name, flags, Mode::empty()).context("open it")?);
        self.contents.size += size;
        let mut left = size;
        while left > 0 {
            let wanted = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = file.read(&mut self.buffer[..wanted]).context("read it")?;
            ensure!(count > 0, "it became shorter while it was read (pause the container)");
            self.out.write_all(&self.buffer[..count]).context("write the layer")?;
            left -= count as u64;
        }
        self.out.write_all(padding(size)).context("write the layer")
    }

    /// A whiteout or an opaque marker: an empty file that matters by its name.
    fn marker(&mut self, path: &Path) -> Result<()> {
        let name = path.as_os_str().as_bytes().to_vec();
        self.entry(&Entry { name, ..Entry::empty() })
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.contents.entries += 1;
        self.out.write_all(&blocks_of(entry)?).context("write the layer")
    }

    fn finish(mut self) -> Result<Packed> {
        self.out.write_all(END).context("write the layer")?;
        let hashing = self.out.into_inner().map_err(|error| error.into_error()).context("write the layer")?;
        let (diff_id, tar_size) = hashing.finish();
        Ok(Packed { diff_id, tar_size, contents: self.contents })
    }
}
