//! Archives: a context that comes as a tar, and what ADD unpacks. Recognised by their bytes, never by their names.

use std::fs;
use std::io::{self, Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use layers::{Compression, Decompressed, UnpackOptions, unpack};

/// The size of a tar header (`tar(5)`).
const BLOCK: usize = 512;

/// What the first bytes of a stream say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An archive, plain or compressed by gzip or zstd.
    Tar,
    /// Compressed by something that this builder does not read.
    Unreadable(&'static str),
    /// Something else: text, for instance.
    Other,
}

/// Of a compressed archive so much is needed for its first bytes: zstd's blocks are up to 128 KiB (RFC 8878, section 3.1.1.2.4)
/// and decompressed whole.
const HEAD: u64 = 192 << 10;

/// Looks at the first bytes of `input`, and gives them back in front of the rest.
pub fn recognise<R: Read>(mut input: R) -> io::Result<(Format, impl Read + use<R>)> {
    let mut head = Vec::new();
    input.by_ref().take(HEAD).read_to_end(&mut head)?;
    let format = format(&head);
    Ok((format, Cursor::new(head).chain(input)))
}

fn format(head: &[u8]) -> Format {
    if let Compression::Unsupported(name) = Compression::of(head) {
        return Format::Unreadable(name);
    }
    // What is compressed need not be a tar: ADD copies a lone file.gz as it is. The head is enough for the first block.
    let mut block = Vec::new();
    if let Ok(inner) = Decompressed::new(head) {
        let _ = inner.take(BLOCK as u64).read_to_end(&mut block);
    }
    if is_header(&block) { Format::Tar } else { Format::Other }
}

/// Whether a tar header stands at the front: its checksum is the sum of its bytes, itself counted as eight blanks.
fn is_header(head: &[u8]) -> bool {
    let Some(block) = head.get(..BLOCK) else { return false };
    let digits: String = block[148..156].iter().map(|byte| char::from(*byte)).collect();
    let stored = u64::from_str_radix(digits.trim_matches([' ', '\0']), 8);
    let sum: u64 =
        block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    block[0] != 0 && stored == Ok(sum)
}

/// Unpacks an archive into the new directory `into`, as safely as a layer: nothing in it leads out.
pub fn unpack_into(archive: impl Read, into: &Path) -> Result<()> {
    fs::create_dir(into).with_context(|| format!("make {}", into.display()))?;
    unpack(Decompressed::new(archive)?, into, &UnpackOptions::default())?;
    Ok(())
}

/// Reads a Dockerfile: text, and not without end.
pub fn read_dockerfile(input: impl Read, name: &str) -> Result<String> {
    const LIMIT: u64 = 16 << 20;
    let mut bytes = Vec::new();
    input.take(LIMIT + 1).read_to_end(&mut bytes).with_context(|| format!("read {name}"))?;
    if bytes.len() as u64 > LIMIT {
        bail!("{name} is larger than 16 MiB: it is no Dockerfile");
    }
    String::from_utf8(bytes).ok().with_context(|| format!("{name} is not UTF-8 text: it is no Dockerfile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, "a/b", &b"hi"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn archives_are_told_by_their_bytes() {
        assert_eq!(format(&tar()), Format::Tar);
        assert_eq!(format(b"FROM scratch\n"), Format::Other);
        assert_eq!(format(b""), Format::Other);
        assert_eq!(format(&[0; 1024]), Format::Other);
        assert_eq!(format(b"\x1f\x8bjunk"), Format::Other);
        assert_eq!(format(b"\x28\xb5\x2f\xfdjunk"), Format::Other);
        assert_eq!(format(b"BZh91AY"), Format::Unreadable("bzip2"));
    }

    #[test]
    fn the_head_is_not_lost() {
        let (format, mut rest) = recognise(&b"FROM a"[..]).unwrap();
        let mut text = String::new();
        rest.read_to_string(&mut text).unwrap();
        assert_eq!((format, text.as_str()), (Format::Other, "FROM a"));
    }

    #[test]
    fn what_is_no_text_is_no_dockerfile() {
        assert!(read_dockerfile(&b"\xff\xfe"[..], "Dockerfile").is_err());
    }
}
