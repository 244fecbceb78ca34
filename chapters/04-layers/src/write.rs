//! Writing tar headers: the counterpart of [`crate::entry`].
//!
//! What a reader of 1988 understands stands in the header block (ustar), all else in PAX records before it.

use anyhow::{Context, Result};
use tar::{EntryType, Header};

use crate::entry::{BLOCK, Entry, EntryKind, Timestamp};
use crate::pax;

/// The blocks that announce an entry: an extension header if it needs one, and its own. Its bytes follow, filled up to whole
/// blocks ([`padding`]).
pub(crate) fn blocks_of(entry: &Entry) -> Result<Vec<u8>> {
    let mut header = Header::new_ustar();
    let mut records = Vec::new();
    header.set_entry_type(match entry.kind {
        EntryKind::File => EntryType::Regular,
        EntryKind::Directory => EntryType::Directory,
        EntryKind::Symlink => EntryType::Symlink,
        EntryKind::HardLink => EntryType::Link,
        EntryKind::Fifo => EntryType::Fifo,
        EntryKind::CharDevice(..) => EntryType::Char,
        EntryKind::BlockDevice(..) => EntryType::Block,
    });
    header.set_mode(entry.mode);
    header.set_uid(number(&mut records, "uid", entry.uid.into(), 7));
    header.set_gid(number(&mut records, "gid", entry.gid.into(), 7));
    header.set_mtime(time(&mut records, entry.mtime));
    for (name, value) in &entry.xattrs {
        pax::write_xattr(&mut records, name, value);
    }
    header.set_size(number(&mut records, "size", entry.size, 11));
    if let EntryKind::CharDevice(major, minor) | EntryKind::BlockDevice(major, minor) = entry.kind {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    let ustar = header.as_ustar_mut().context("a header of another format")?;
    text(&mut ustar.name, &entry.name, "path", &mut records);
    text(&mut ustar.linkname, &entry.link, "linkpath", &mut records);
    header.set_cksum();

    let mut blocks = Vec::new();
    if !records.is_empty() {
        let mut extension = Header::new_ustar();
        extension.set_entry_type(EntryType::XHeader);
        extension.set_path("PaxHeaders").context("name a PAX header")?;
        for set in [Header::set_uid, Header::set_gid, Header::set_mtime] {
            set(&mut extension, 0);
        }
        extension.set_mode(0);
        extension.set_size(records.len() as u64);
        extension.set_cksum();
        blocks.extend_from_slice(extension.as_bytes());
        blocks.extend_from_slice(&records);
        blocks.extend_from_slice(padding(records.len() as u64));
    }
    blocks.extend_from_slice(header.as_bytes());
    Ok(blocks)
}

/// What fills so many bytes up to whole blocks.
pub(crate) fn padding(length: u64) -> &'static [u8] {
    &[0; BLOCK as usize][..((BLOCK - length % BLOCK) % BLOCK) as usize]
}

/// What ends an archive: two blocks of zeros.
pub(crate) const END: &[u8] = &[0; 2 * BLOCK as usize];

/// What a field of so many octal digits takes; beyond, the number goes into a record, and 0 into the field.
fn number(records: &mut Vec<u8>, key: &str, number: u64, digits: u32) -> u64 {
    if number < 1 << (3 * digits) {
        return number;
    }
    pax::write_record(records, key.as_bytes(), number.to_string().as_bytes());
    0
}

/// The whole seconds, if they fit; the time itself goes into a record if that is not all of it.
fn time(records: &mut Vec<u8>, time: Timestamp) -> u64 {
    let fits = u64::try_from(time.seconds).ok().filter(|seconds| *seconds < 1 << 33);
    if time.nanoseconds != 0 || fits.is_none() {
        pax::write_time(records, "mtime", time);
    }
    fits.unwrap_or(0)
}

/// Puts a name into a field of 100 bytes, and all of it into a record if it is longer.
fn text(field: &mut [u8; 100], text: &[u8], key: &str, records: &mut Vec<u8>) {
    let fits = text.len().min(field.len());
    field[..fits].copy_from_slice(&text[..fits]);
    if fits < text.len() {
        pax::write_record(records, key.as_bytes(), text);
    }
}
