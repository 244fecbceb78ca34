//! A tar header block: 512 bytes, whose fields are text.

use anyhow::{Context, Result, bail, ensure};
use tar::Header;

use crate::entry::EntryKind;

/// Whether the block has the checksum that it says: the sum of its bytes, those of the checksum itself read as spaces.
///
/// Some writers of the eighties summed signed bytes; Go's reader takes either, and so do we.
pub(crate) fn is_intact(header: &Header) -> bool {
    let bytes =
        || header.as_bytes().iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { b' ' } else { byte });
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
    number(&header.as_old().cksum).is_ok_and(|sum| sum == unsigned || sum == signed)
}

/// What an entry of this header makes. `name` is the whole name, which may stand elsewhere.
pub(crate) fn kind_of(header: &Header, name: &[u8]) -> Result<EntryKind> {
    let device = || -> Result<(u32, u32)> {
        let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
            (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            _ => bail!("a device in an archive of 1979's format, which has no device numbers"),
        };
        let half = |field: &[u8]| u32::try_from(unsigned(field)?).context("device number out of range");
        Ok((half(major)?, half(minor)?))
    };
    Ok(match header.as_old().linkflag[0] {
        // v7 had no flag for directories: a name that ends in a slash was one.
        0 if name.ends_with(b"/") => EntryKind::Directory,
        // '7' asks for a contiguous file, which no Unix of today has; 'S' is a sparse file.
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => device().map(|(major, minor)| EntryKind::CharDevice(major, minor))?,
        b'4' => device().map(|(major, minor)| EntryKind::BlockDevice(major, minor))?,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        b'M' | b'N' | b'D' => bail!("parts of GNU multi-volume and incremental archives are not supported"),
        other => bail!("unknown entry type {:?}", char::from(other)),
    })
}

/// The number of bytes that follow a header. None follow what is not a file, whatever the field says: some writers put the
/// size of the linked file into a hard link's header.
pub(crate) fn size_of(header: &Header) -> Result<u64> {
    match header.as_old().linkflag[0] {
        b'1'..=b'6' => Ok(0),
        _ => unsigned(&header.as_old().size).context("size of an entry"),
    }
}

/// A number field that cannot be negative.
pub(crate) fn unsigned(field: &[u8]) -> Result<u64> {
    let number = number(field)?;
    u64::try_from(number).ok().with_context(|| format!("{number} where no negative number belongs"))
}

/// A number field of a header: octal digits between spaces and NULs (all blank: 0), or, with the highest bit of the first
/// byte set, a big-endian two's complement number, GNU's way to write what octal digits have no room for.
pub(crate) fn number(field: &[u8]) -> Result<i64> {
    if let Some((&first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        // Bit 6 is the sign; the flag bit is replaced by a copy of it.
        let start = i128::from((first << 1) as i8 >> 1);
        ensure!(rest.len() <= 11, "a number field of {} bytes", field.len());
        let value = rest.iter().fold(start, |value, &byte| value << 8 | i128::from(byte));
        return i64::try_from(value).context("a number is out of range");
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let digits = field.iter().skip_while(|byte| blank(byte)).take_while(|byte| !blank(byte));
    digits.copied().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => Ok(value << 3 | i64::from(digit - b'0')),
        _ => bail!("{:?} is not an octal number", String::from_utf8_lossy(field)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers() {
        assert_eq!(number(b"0000644\0").unwrap(), 0o644);
        assert_eq!(number(b"   644 \0").unwrap(), 0o644);
        assert_eq!(number(b"\0\0\0\0\0\0\0\0").unwrap(), 0);
        assert_eq!(number(&[0x80, 0, 0, 0, 0x80, 0, 0, 0]).unwrap(), 0x8000_0000);
        assert_eq!(number(&[0xff; 12]).unwrap(), -1);
        assert!(number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(number(b"12x").is_err());
        assert!(unsigned(&[0xff; 8]).is_err());
    }

    #[test]
    fn either_checksum_will_do() {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..2].copy_from_slice("ü".as_bytes());
        header.set_cksum();
        assert!(is_intact(&header));
        let sum = number(&header.as_old().cksum).unwrap() - 2 * 256;
        header.as_old_mut().cksum[..7].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        assert!(is_intact(&header));
        header.as_old_mut().name[3] = b'x';
        assert!(!is_intact(&header));
    }
}
