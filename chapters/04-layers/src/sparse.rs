//! Sparse files: files with holes, of which a tar stores only the pieces between them.
//!
//! Four formats, all GNU's ("Storing Sparse Files" in its manual): the old one (type `S`, the map in the header block and
//! in blocks after it), and three in PAX records: 0.0 (a record for each number), 0.1 (one record with all of them), 1.0
//! (the map in front of the file's bytes). A reader that does not know 1.0 makes a file with a wrong name and the map as
//! its content, and thinks all went well.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::entry::BLOCK;
use crate::header::unsigned;
use crate::pax::{Records, decimal};

/// A map may have this many pieces; a real file of a terabyte with a hole in each megabyte has as many.
const MAX_EXTENTS: usize = 1 << 20;

/// A piece of a file that is not a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// Size and map of a file in the old format. Further blocks of the map are read from `stream`, behind the header; they are
/// not counted in the entry's size.
pub(crate) fn of_gnu_header(header: &Header, stream: &mut impl Read) -> Result<(u64, Vec<Extent>)> {
    let gnu = header.as_gnu().context("a sparse file without a GNU header")?;
    let mut extents = Vec::new();
    let mut add = |pieces: &[GnuSparseHeader]| -> Result<()> {
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            extents.push(Extent { offset: unsigned(&piece.offset)?, length: unsigned(&piece.numbytes)? });
        }
        ensure!(extents.len() <= MAX_EXTENTS, "a sparse file of more than {MAX_EXTENTS} pieces");
        Ok(())
    };
    add(&gnu.sparse)?;
    let mut more = gnu.is_extended();
    // A block of the map that maps nothing would let an archive keep us here without growing the count.
    for _ in 0..MAX_EXTENTS {
        if !more {
            break;
        }
        let mut block = GnuExtSparseHeader::new();
        stream.read_exact(block.as_mut_bytes()).context("read the map of a sparse file")?;
        add(&block.sparse)?;
        more = block.is_extended();
    }
    ensure!(!more, "the map of a sparse file has no end");
    Ok((unsigned(&gnu.realsize)?, extents))
}

/// Size and map of a file in one of the PAX formats. `data` gives the stored bytes, in front of which 1.0 has its map.
pub(crate) fn of_records(records: &Records, data: &mut impl Read) -> Result<(u64, Vec<Extent>)> {
    let size = match (records.number("GNU.sparse.realsize")?, records.number("GNU.sparse.size")?) {
        (Some(size), _) | (None, Some(size)) => size,
        (None, None) => bail!("a sparse file without its size"),
    };
    let version = (records.number("GNU.sparse.major")?, records.number("GNU.sparse.minor")?);
    let numbers = match version {
        (Some(1), Some(0)) => map_before_data(data)?,
        (None | Some(0), None | Some(0 | 1)) => match records.get("GNU.sparse.map") {
            Some(map) => map.split(|&byte| byte == b',').map(decimal).collect::<Result<_>>()?,
            None => records.sparse_pairs.clone(),
        },
        (major, minor) => {
            bail!("sparse format {}.{} is not known", major.unwrap_or_default(), minor.unwrap_or_default())
        }
    };
    ensure!(numbers.len() % 2 == 0, "the map of a sparse file has an odd number of numbers");
    Ok((size, numbers.chunks(2).map(|pair| Extent { offset: pair[0], length: pair[1] }).collect()))
}

/// The map of format 1.0: decimal numbers, each ended by a newline, the count of pieces first, filled up to whole blocks.
fn map_before_data(data: &mut impl Read) -> Result<Vec<u64>> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut digits = Vec::new();
    let mut wanted = 1;
    let mut block = [0; BLOCK as usize];
    while numbers.len() < wanted {
        data.read_exact(&mut block).context("read the map of a sparse file")?;
        for &byte in &block {
            if numbers.len() == wanted {
                break;
            } else if byte != b'\n' {
                ensure!(digits.len() < 20, "a number in the map of a sparse file has no end");
                digits.push(byte);
                continue;
            }
            ensure!(!digits.is_empty(), "an empty line in the map of a sparse file");
            numbers.push(decimal(&digits)?);
            digits.clear();
            if numbers.len() == 1 {
                ensure!(numbers[0] <= MAX_EXTENTS as u64, "a sparse file of more than {MAX_EXTENTS} pieces");
                wanted += 2 * numbers[0] as usize;
            }
        }
    }
    numbers.remove(0);
    Ok(numbers)
}

/// A map must be in order, without overlap, inside the file, and take exactly the bytes that are stored.
pub(crate) fn check(extents: &[Extent], size: u64, stored: u64) -> Result<()> {
    let (mut end, mut total) = (0u64, 0u64);
    for extent in extents {
        ensure!(extent.offset >= end, "the pieces of a sparse file overlap or are out of order");
        end = extent.offset.checked_add(extent.length).context("a piece of a sparse file ends nowhere")?;
        total += extent.length;
    }
    ensure!(end <= size, "a piece of a sparse file lies behind its end");
    ensure!(total == stored, "the map of a sparse file tells of {total} bytes, {stored} are stored");
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_map_of_format_1() {
        let mut data = b"2\n0\n512\n4096\n10\n".to_vec();
        data.resize(512, 0);
        data.extend_from_slice(b"rest");
        let mut reader = &data[..];
        assert_eq!(map_before_data(&mut reader).unwrap(), [0, 512, 4096, 10]);
        assert_eq!(reader, b"rest");
    }

    #[test]
    fn refuses_maps_that_lie() {
        let map = |pieces: &[(u64, u64)]| -> Vec<Extent> {
            pieces.iter().map(|&(offset, length)| Extent { offset, length }).collect()
        };
        assert!(check(&map(&[(0, 5), (10, 5)]), 20, 10).is_ok());
        assert!(check(&map(&[(0, 5), (4, 5)]), 20, 10).is_err());
        assert!(check(&map(&[(10, 5), (0, 5)]), 20, 10).is_err());
        assert!(check(&map(&[(0, 5)]), 4, 5).is_err());
        assert!(check(&map(&[(0, 5)]), 20, 6).is_err());
        assert!(check(&map(&[(u64::MAX, 5)]), u64::MAX, 5).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), b'0'..=b'9', any::<u8>()], 0..2000)) {
            let _ = map_before_data(&mut &bytes[..]);
        }
    }
}
