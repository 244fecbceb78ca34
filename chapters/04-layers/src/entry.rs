//! Reading a tar stream, entry by entry.
//!
//! The layout of a header block comes from the `tar` crate; the walk over the stream is ours. Three things that layers
//! need decided it: the crate splits PAX records at newlines, so a binary extended attribute (`security.capability`) with
//! a byte 0x0a in it is lost, and text inside an attribute's value can pose as a record of its own; it keeps whole
//! extension headers in memory however long they say they are; and it does not know sparse files of the PAX kinds.
//!
//! Formats understood: v7, ustar (POSIX.1-1988), PAX (POSIX.1-2001), GNU long names, and sparse files of all four kinds.
//! Where readers of tar differ we do what Go's `archive/tar` does, because Docker and containerd read with it: one archive
//! must not be two file trees to two engines.

use std::io::{self, Read};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FileType, Stat, major, minor};
use tar::Header;

use crate::header::{is_intact, kind_of, number, size_of, unsigned};
use crate::pax::Records;
use crate::sparse::{self, Extent};

pub(crate) const BLOCK: u64 = 512;

/// One extension header (PAX records, a long name) may be this long in bytes. Names end at 4096 (`PATH_MAX`), extended
/// attributes at 64 KiB each, so this is generous; without a bound, a few kilobytes of gzip could ask for gigabytes.
const MAX_EXTENSION: u64 = 1 << 20;

/// What an entry makes in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file; its bytes follow.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its target is text, resolved by whoever follows it later.
    Symlink,
    /// Another name for an earlier entry.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
}

/// A point in time, as PAX and the kernel have it: whole seconds since 1970 (before it: negative) and nanoseconds after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC.
    pub seconds: i64,
    /// 0 to 999 999 999.
    pub nanoseconds: u32,
}

/// One member of the archive: everything but its bytes.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name as it stands in the archive: not checked, not cleaned. See [`crate::Target`].
    pub name: Vec<u8>,
    /// Target of a symbolic or hard link, as it stands in the archive.
    pub link: Vec<u8>,
    /// What it makes.
    pub kind: EntryKind,
    /// Permission bits with set-uid, set-gid and sticky: at most 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Timestamp,
    /// Extended attributes by name (`SCHILY.xattr.*`).
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Length in bytes of the file this entry describes, holes included; 0 for what is not a file.
    pub size: u64,
    /// For a sparse file, where its stored bytes belong; `None`: the bytes are stored whole.
    pub extents: Option<Vec<Extent>>,
}

/// Walks over a tar stream. After [`Entries::next`] gave a file, its stored bytes can be read from `Entries` itself, which
/// is a [`Read`] that ends with them; what is left unread is skipped.
pub struct Entries<R> {
    stream: R,
    /// Stored bytes of the current entry not read yet.
    left: u64,
    /// Zeros after them, up to the next block.
    padding: u64,
}

/// The extension headers that stand before an entry and describe it. At most one of each kind.
#[derive(Default)]
struct Extensions {
    records: Option<Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Timestamp {
    /// When a file was last modified.
    pub(crate) fn of(stat: &Stat) -> Timestamp {
        Timestamp { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 }
    }
}

impl Entry {
    /// What there is to say of a file without looking into it; `None` of a socket, which means nothing without its process.
    pub(crate) fn of(stat: &Stat) -> Option<Entry> {
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink,
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice => EntryKind::CharDevice(major, minor),
            FileType::BlockDevice => EntryKind::BlockDevice(major, minor),
            FileType::Socket | FileType::Unknown => return None,
        };
        let (mode, uid, gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        let size = if kind == EntryKind::File { stat.st_size as u64 } else { 0 };
        Some(Entry { kind, mode, uid, gid, mtime: Timestamp::of(stat), size, ..Entry::empty() })
    }

    /// An empty file without a name, from the beginning of time: all else is said by who makes one.
    pub(crate) fn empty() -> Entry {
        let mtime = Timestamp::default();
        let (name, link, xattrs) = (Vec::new(), Vec::new(), Vec::new());
        Entry { name, link, kind: EntryKind::File, mode: 0, uid: 0, gid: 0, mtime, xattrs, size: 0, extents: None }
    }
}

impl<R: Read> Entries<R> {
    /// Starts at the first header.
    pub fn new(stream: R) -> Entries<R> {
        Entries { stream, left: 0, padding: 0 }
    }

    /// The stream again; after the last entry only zeros should be left in it.
    pub fn into_inner(self) -> R {
        self.stream
    }

    /// The next member; `None` after the last.
    #[expect(clippy::should_implement_trait, reason = "the bytes of a member are read through self, between two calls")]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                let Extensions { records: None, name: None, link: None } = extensions else {
                    bail!("the archive ends after an extension header, before the entry it describes");
                };
                return Ok(None);
            };
            let stored = size_of(&header)?;
            let repeated = match header.as_old().linkflag[0] {
                b'L' => extensions.name.replace(until_nul(self.extension(stored)?)).is_some(),
                b'K' => extensions.link.replace(until_nul(self.extension(stored)?)).is_some(),
                b'x' | b'X' => extensions.records.replace(Records::parse(&self.extension(stored)?)?).is_some(),
                // Defaults for all entries (in practice a comment by `git archive`); a volume's label. Docker ignores both.
                b'g' | b'V' => {
                    self.stored_bytes(stored);
                    false
                }
                _ => return self.member(&header, stored, extensions).map(Some),
            };
            // Parsers disagree on which of two would count, and such a disagreement is how an archive deceives one of them.
            ensure!(!repeated, "two extension headers of one kind describe the same entry");
        }
    }

    fn member(&mut self, header: &Header, stored: u64, extensions: Extensions) -> Result<Entry> {
        let records = extensions.records.unwrap_or_default();
        let text = |key: &str| records.get(key).map(<[u8]>::to_vec);
        let name = one_of(text("path"), extensions.name)?.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = text("GNU.sparse.name").unwrap_or(name);
        let link = one_of(text("linkpath"), extensions.link)?
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let shown = String::from_utf8_lossy(&name).into_owned();
        self.describe(header, stored, records, name, link)
            .with_context(|| format!("read entry {shown:?} of the archive"))
    }

    fn describe(
        &mut self,
        header: &Header,
        stored: u64,
        records: Records,
        name: Vec<u8>,
        link: Vec<u8>,
    ) -> Result<Entry> {
        let old = header.as_old();
        let kind = kind_of(header, &name)?;
        let (mut size, mut extents) = (0, None);
        if kind == EntryKind::File {
            size = records.number("size")?.unwrap_or(stored);
            self.stored_bytes(size);
            if old.linkflag[0] == b'S' {
                (size, extents) = sparse::of_gnu_header(header, &mut self.stream).map(whole_and_parts)?;
            } else if records.is_sparse() {
                (size, extents) = sparse::of_records(&records, self).map(whole_and_parts)?;
            }
            if let Some(extents) = &extents {
                sparse::check(extents, size, self.left)?;
            }
        }
        let id = |key: &str, field: &[u8]| -> Result<u32> {
            let id = match records.number(key)? {
                Some(id) => id,
                None => unsigned(field)?,
            };
            // 2^32-1 is (uid_t) -1, which chown(2) takes for "leave it".
            ensure!(id < u64::from(u32::MAX), "{key} {id} is out of range");
            Ok(id as u32)
        };
        Ok(Entry {
            kind,
            mode: (number(&old.mode).context("mode")? & 0o7777) as u32,
            uid: id("uid", &old.uid)?,
            gid: id("gid", &old.gid)?,
            mtime: match records.time("mtime") {
                Some(mtime) => mtime,
                None => Timestamp { seconds: number(&old.mtime).context("mtime")?, nanoseconds: 0 },
            },
            xattrs: records.into_xattrs()?,
            name,
            link,
            size,
            extents,
        })
    }

    /// The next header block, its checksum verified; `None` at the end: two blocks of zeros, of which the first is enough,
    /// or the end of the stream between two entries.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let count = read_up_to(&mut self.stream, block)?;
        if count == 0 || block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        ensure!(count == block.len(), "the archive is cut off inside a header");
        ensure!(is_intact(&header), "this is not a tar archive, or it is damaged: a header's checksum is wrong");
        Ok(Some(header))
    }

    /// All bytes of an extension header.
    fn extension(&mut self, stored: u64) -> Result<Vec<u8>> {
        ensure!(stored <= MAX_EXTENSION, "an extension header of {stored} bytes (at most {MAX_EXTENSION} are read)");
        self.stored_bytes(stored);
        let mut bytes = vec![0; stored as usize];
        self.read_exact(&mut bytes).context("read an extension header")?;
        Ok(bytes)
    }

    fn stored_bytes(&mut self, count: u64) {
        self.left = count;
        self.padding = (BLOCK - count % BLOCK) % BLOCK;
    }

    fn skip_rest(&mut self) -> Result<()> {
        let rest = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.stream).take(rest), &mut io::sink()).context("read the archive")?;
        ensure!(skipped == rest, "the archive is cut off inside an entry");
        Ok(())
    }
}

impl<R: Read> Read for Entries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.stream.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off inside a file"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// A long name in a PAX record or in a header of GNU's. Which of two would count is a matter of opinion (Go says GNU's,
/// others PAX's), and so a way to show one archive to a scanner and another to an engine.
fn one_of(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    if let (Some(pax), Some(gnu)) = (&pax, &gnu) {
        let text = String::from_utf8_lossy;
        ensure!(pax == gnu, "an entry with two names, {:?} and {:?}", text(pax), text(gnu));
    }
    Ok(pax.or(gnu))
}

fn whole_and_parts((size, extents): (u64, Vec<Extent>)) -> (u64, Option<Vec<Extent>>) {
    (size, Some(extents))
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
    name
}

/// Fills `buffer` as far as the stream goes.
fn read_up_to(stream: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match stream.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("read the archive"),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_an_archive_from_noise() {
        assert!(Entries::new(&[b'x'; 2048][..]).next().is_err());
        assert!(Entries::new(&[b'x'; 100][..]).next().is_err());
        assert!(Entries::new(&[0; 1024][..]).next().unwrap().is_none());
        assert!(Entries::new(io::empty()).next().unwrap().is_none());
    }

    #[test]
    fn bounds_extension_headers() {
        let mut header = Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_size(1 << 40);
        header.set_cksum();
        let error = Entries::new(header.as_bytes().chain(io::repeat(b'a'))).next().unwrap_err();
        assert!(format!("{error:#}").contains("at most 1048576"), "{error:#}");
    }
}
