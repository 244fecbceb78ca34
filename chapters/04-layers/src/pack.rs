//! Packing: a directory in overlayfs's form becomes a layer tar, and the same directory always the same tar.
//!
//! Entries are sorted, owners are numbers only, times are the files' own to the nanosecond, and nothing of this machine or
//! this moment gets in. What a reader of 1988 understands stands in the header, all else in PAX records.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FileType, Mode, OFlags, major, minor, openat, readlinkat};
use tar::{EntryType, Header};

use crate::below::Below;
use crate::digest::{Digest, Hashing};
use crate::entry::{BLOCK, Timestamp};
use crate::name::{is_reserved, opaque_marker_of, whiteout_of};
use crate::pax;
use crate::unpack::Contents;
use crate::walk::{Found, walk};

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
///
/// # Errors
/// A name that begins with `.wh.` cannot be told from a whiteout in a layer tar, and is refused.
pub fn pack(upper: &Path, out: impl Write) -> Result<Packed> {
    pack_with(upper, None, out)
}

/// Like [`pack`], knowing the layers below (the base first). Overlayfs marks every new directory as opaque, to save itself
/// lookups; where there is nothing to hide the tar is shorter without saying so, and the same as Docker would make.
pub fn pack_above(upper: &Path, lower: &[PathBuf], out: impl Write) -> Result<Packed> {
    pack_with(upper, Some(&Below::open(lower)?), out)
}

fn pack_with(upper: &Path, below: Option<&Below>, out: impl Write) -> Result<Packed> {
    let mut packer = Packer {
        out: BufWriter::with_capacity(CHUNK, Hashing::new(out)),
        first_names: HashMap::new(),
        contents: Contents::default(),
        buffer: vec![0; CHUNK],
    };
    walk(upper, &mut |found| {
        packer.add(found)?;
        let hides =
            || Ok::<_, anyhow::Error>(below.map_or(Ok(Some(found.stat)), |below| below.find(found.path))?.is_some());
        if found.is_opaque() && hides()? {
            packer.marker(&opaque_marker_of(found.path))?;
        }
        Ok(())
    })
    .with_context(|| format!("pack the layer {}", upper.display()))?;
    // Two blocks of zeros end the archive.
    packer.out.write_all(&[0; 2 * BLOCK as usize])?;
    let hashing = packer.out.into_inner().map_err(|error| error.into_error()).context("write the layer")?;
    let (diff_id, tar_size) = hashing.finish();
    Ok(Packed { diff_id, tar_size, contents: packer.contents })
}

struct Packer<W: Write> {
    out: BufWriter<Hashing<W>>,
    /// Under which name each file with several was packed.
    first_names: HashMap<(u64, u64), PathBuf>,
    contents: Contents,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<W> {
    fn add(&mut self, found: &Found<'_>) -> Result<()> {
        let stat = &found.stat;
        ensure!(
            !is_reserved(found.name),
            "the name {:?} means a removed file in a layer and cannot be kept (rename it)",
            found.name
        );
        if found.is_whiteout() {
            return self.marker(&found.path.with_file_name(whiteout_of(found.name)));
        }
        let kind = match found.kind() {
            FileType::RegularFile => EntryType::Regular,
            FileType::Directory => EntryType::Directory,
            FileType::Symlink => EntryType::Symlink,
            FileType::Fifo => EntryType::Fifo,
            FileType::CharacterDevice => EntryType::Char,
            FileType::BlockDevice => EntryType::Block,
            FileType::Socket => return Ok(()),
            FileType::Unknown => bail!("a file of unknown type"),
        };
        let mut header = Entry::new(kind, found.path);
        header.header.set_mode(stat.st_mode & 0o7777);
        header.uid(owner(stat.st_uid, rustix::process::geteuid().as_raw()));
        header.gid(owner(stat.st_gid, rustix::process::getegid().as_raw()));
        header.mtime(Timestamp { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 });
        if kind != EntryType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.first_names.get(&(stat.st_dev, stat.st_ino)) {
                // With mode, owner and time like the first: Docker sets them again from here.
                header.header.set_entry_type(EntryType::Link);
                header.link = first.as_os_str().as_bytes().to_vec();
                return self.entry(header);
            }
            self.first_names.insert((stat.st_dev, stat.st_ino), found.path.to_owned());
        }
        for (name, value) in found.xattrs()? {
            pax::write_xattr(&mut header.records, &name, &value);
        }
        match kind {
            EntryType::Symlink => {
                header.link = readlinkat(found.dir, found.name, Vec::new()).context("read the link")?.into_bytes();
            }
            EntryType::Char | EntryType::Block => {
                header.header.set_device_major(major(stat.st_rdev))?;
                header.header.set_device_minor(minor(stat.st_rdev))?;
            }
            EntryType::Regular => return self.file(header, found),
            _ => {}
        }
        self.entry(header)
    }

    fn file(&mut self, mut header: Entry, found: &Found<'_>) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(openat(found.dir, found.name, flags, Mode::empty()).context("open it")?);
        let size = file.metadata().context("look at it")?.len();
        header.size(size);
        self.contents.size += size;
        self.entry(header)?;
        let mut left = size;
        while left > 0 {
            let wanted = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = file.read(&mut self.buffer[..wanted]).context("read it")?;
            ensure!(count > 0, "it became shorter while it was read (pause the container)");
            self.out.write_all(&self.buffer[..count]).context("write the layer")?;
            left -= count as u64;
        }
        self.pad(size)
    }

    /// A whiteout or an opaque marker: an empty file that matters by its name.
    fn marker(&mut self, path: &Path) -> Result<()> {
        self.entry(Entry::new(EntryType::Regular, path))
    }

    /// Writes a header, after the PAX header that it may need.
    fn entry(&mut self, mut entry: Entry) -> Result<()> {
        self.contents.entries += 1;
        let (name, link) = (std::mem::take(&mut entry.name), std::mem::take(&mut entry.link));
        let ustar = entry.header.as_ustar_mut().context("a header of another format")?;
        put(&mut ustar.name, &name, "path", &mut entry.records);
        put(&mut ustar.linkname, &link, "linkpath", &mut entry.records);
        if !entry.records.is_empty() {
            let mut header = Entry::new(EntryType::XHeader, Path::new(""));
            header.header.set_path("PaxHeaders").context("name a PAX header")?;
            header.size(entry.records.len() as u64);
            self.block(&mut header.header)?;
            self.out.write_all(&entry.records).context("write the layer")?;
            self.pad(entry.records.len() as u64)?;
        }
        self.block(&mut entry.header)
    }

    fn block(&mut self, header: &mut Header) -> Result<()> {
        header.set_cksum();
        self.out.write_all(header.as_bytes()).context("write the layer")
    }

    fn pad(&mut self, length: u64) -> Result<()> {
        let zeros = (BLOCK - length % BLOCK) % BLOCK;
        self.out.write_all(&[0; BLOCK as usize][..zeros as usize]).context("write the layer")
    }
}

/// A header in the making: what fits, and records for what does not.
struct Entry {
    header: Header,
    name: Vec<u8>,
    link: Vec<u8>,
    records: Vec<u8>,
}

impl Entry {
    fn new(kind: EntryType, path: &Path) -> Entry {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        let mut name = path.as_os_str().as_bytes().to_vec();
        if kind == EntryType::Directory {
            name.push(b'/');
        }
        Entry { header, name, link: Vec::new(), records: Vec::new() }
    }

    fn uid(&mut self, uid: u32) {
        let fits = self.number("uid", uid.into(), 7);
        self.header.set_uid(fits);
    }

    fn gid(&mut self, gid: u32) {
        let fits = self.number("gid", gid.into(), 7);
        self.header.set_gid(fits);
    }

    fn size(&mut self, size: u64) {
        let fits = self.number("size", size, 11);
        self.header.set_size(fits);
    }

    fn mtime(&mut self, mtime: Timestamp) {
        match u64::try_from(mtime.seconds) {
            Ok(seconds) if seconds < 1 << 33 => self.header.set_mtime(seconds),
            _ => {}
        }
        if mtime.nanoseconds != 0 || !(0..1 << 33).contains(&mtime.seconds) {
            pax::write_time(&mut self.records, "mtime", mtime);
        }
    }

    /// What a field of so many octal digits takes; beyond, the number goes into a record, and 0 into the field.
    fn number(&mut self, key: &str, number: u64, digits: u32) -> u64 {
        if number < 1 << (3 * digits) {
            return number;
        }
        pax::write_record(&mut self.records, key.as_bytes(), number.to_string().as_bytes());
        0
    }
}

/// Puts a name into a field of 100 bytes, and all of it into a record if it is longer.
fn put(field: &mut [u8; 100], text: &[u8], key: &str, records: &mut Vec<u8>) {
    let fits = text.len().min(field.len());
    field[..fits].copy_from_slice(&text[..fits]);
    if fits < text.len() {
        pax::write_record(records, key.as_bytes(), text);
    }
}

/// An ordinary user's files are what the container knows as root's.
fn owner(id: u32, ours: u32) -> u32 {
    if id == ours { 0 } else { id }
}
