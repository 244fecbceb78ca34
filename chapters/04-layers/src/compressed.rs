//! Layers as they travel: compressed, hashed twice, unpacked while they arrive.

use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;

use crate::ahead::read_ahead;
use crate::digest::{Digest, Hashing};
use crate::unpack::{Contents, UnpackOptions, unpack};

const BUFFER: usize = 128 << 10;

/// What unpacking a layer taught about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the bytes as they came (compressed): the layer's name in a manifest.
    pub digest: Digest,
    /// How many these were.
    pub compressed_size: u64,
    /// The digest of the uncompressed tar: the layer's name in an image's config.
    pub diff_id: Digest,
    /// How long the uncompressed tar is, in bytes.
    pub tar_size: u64,
    /// What was in it.
    pub contents: Contents,
}

/// Unpacks one layer, a tar or a gzipped tar, into the empty directory `into`: see [`unpack`].
///
/// The stream is read to its end. It is the caller who compares the digests with what was promised, before the result is
/// used: what was unpacked of a lying stream is complete, and wrong. Reading, decompressing and the first digest happen on
/// a thread of their own, the second digest and the writing here.
pub fn unpack_compressed(layer: impl Read + Send, into: &Path, options: &UnpackOptions) -> Result<Unpacked> {
    let stream = Decompressed::new(Hashing::new(layer))?;
    let (unpacked, stream) = read_ahead(stream, |tar| -> Result<_> {
        let mut tar = Hashing::new(tar);
        let contents = unpack(&mut tar, into, options)?;
        let (diff_id, tar_size) = tar.finish();
        Ok((contents, diff_id, tar_size))
    })?;
    let (contents, diff_id, tar_size) = unpacked?;
    let (digest, compressed_size) = stream.into_inner().finish();
    Ok(Unpacked { digest, compressed_size, diff_id, tar_size, contents })
}

/// A stream without its compression, which is recognised by its first bytes: the names and media types that come with a
/// layer are sometimes wrong.
pub struct Decompressed<R: Read>(Kind<R>);

enum Kind<R: Read> {
    Plain(Start<R>),
    /// Concatenated streams count as one (RFC 1952, section 2.2): pigz and eStargz write such.
    Gzip(Box<MultiGzDecoder<Start<R>>>),
}

/// A stream whose first bytes have been looked at.
type Start<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

impl<R: Read> Decompressed<R> {
    /// Looks at the first bytes.
    ///
    /// # Errors
    /// The stream cannot be read, or is compressed in a way that we know by name only.
    pub fn new(mut stream: R) -> Result<Decompressed<R>> {
        let mut start = Vec::with_capacity(8);
        stream.by_ref().take(6).read_to_end(&mut start).context("read the start of the layer")?;
        let unsupported = match &start[..] {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Some("xz"),
            [b'B', b'Z', b'h', ..] => Some("bzip2"),
            _ => None,
        };
        if let Some(name) = unsupported {
            bail!("compressed with {name}, which is not supported yet (compress with gzip instead)");
        }
        let gzip = start.starts_with(&[0x1f, 0x8b]);
        let stream = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(stream));
        Ok(Decompressed(if gzip { Kind::Gzip(Box::new(MultiGzDecoder::new(stream))) } else { Kind::Plain(stream) }))
    }

    /// The stream itself. After the decompressed bytes were read to their end, so was it.
    pub fn into_inner(self) -> R {
        let start = match self.0 {
            Kind::Plain(stream) => stream,
            Kind::Gzip(decoder) => decoder.into_inner(),
        };
        start.into_inner().into_inner().1
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(stream) => stream.read(buffer),
            Kind::Gzip(decoder) => decoder.read(buffer),
        }
    }
}
