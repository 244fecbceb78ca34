//! Layers as they travel: compressed, hashed twice, unpacked while they arrive.

use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

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

/// Unpacks one layer, a tar as it is or compressed by gzip or zstd, into the empty directory `into`: see [`unpack`].
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

/// How a stream is compressed, by its first bytes: the names and media types that come with a layer are sometimes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// In no way that we know.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// By what is known by name only.
    Unsupported(&'static str),
}

impl Compression {
    /// So many bytes tell, if there are as many.
    pub const START: usize = 6;

    /// Of a stream that starts so.
    pub fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            // A frame, or one of those that decoders skip (RFC 8878, section 3.1.2): pzstd begins with such.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Unsupported("xz"),
            [b'B', b'Z', b'h', ..] => Compression::Unsupported("bzip2"),
            _ => Compression::None,
        }
    }
}

/// A stream without its compression.
pub struct Decompressed<R: Read>(Kind<R>);

/// Concatenated streams count as one (RFC 1952, section 2.2; RFC 8878, section 3): pigz, eStargz and zstd:chunked write such.
enum Kind<R: Read> {
    Plain(Start<R>),
    Gzip(Box<MultiGzDecoder<Start<R>>>),
    Zstd(Box<ZstdDecoder<'static, Start<R>>>),
}

/// A stream whose first bytes have been looked at.
type Start<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

impl<R: Read> Decompressed<R> {
    /// Looks at the first bytes.
    ///
    /// A zstd frame that asks for a window of more than 128 MiB is an error when it is read: libzstd's own bound.
    ///
    /// # Errors
    /// The stream cannot be read, or is compressed in a way that we know by name only.
    pub fn new(mut stream: R) -> Result<Decompressed<R>> {
        let mut start = Vec::with_capacity(Compression::START);
        stream
            .by_ref()
            .take(Compression::START as u64)
            .read_to_end(&mut start)
            .context("read the start of the layer")?;
        let compression = Compression::of(&start);
        let stream = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(stream));
        Ok(Decompressed(match compression {
            Compression::None => Kind::Plain(stream),
            Compression::Gzip => Kind::Gzip(Box::new(MultiGzDecoder::new(stream))),
            Compression::Zstd => Kind::Zstd(Box::new(ZstdDecoder::with_buffer(stream).context("start zstd")?)),
            Compression::Unsupported(name) => {
                bail!("compressed with {name}, which is not supported (compress with gzip or zstd instead)")
            }
        }))
    }

    /// The stream itself. After the decompressed bytes were read to their end, so was it.
    pub fn into_inner(self) -> R {
        let start = match self.0 {
            Kind::Plain(stream) => stream,
            Kind::Gzip(decoder) => decoder.into_inner(),
            Kind::Zstd(decoder) => decoder.finish(),
        };
        start.into_inner().into_inner().1
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(stream) => stream.read(buffer),
            Kind::Gzip(decoder) => decoder.read(buffer),
            Kind::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompressed(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        Decompressed::new(bytes)?.read_to_end(&mut all)?;
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut all).unwrap();
        all
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 0).unwrap()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let text = b"a layer".repeat(100_000);
        for compressed in [text.clone(), gzip(&text), zstd(&text), [gzip(&text[..9]), gzip(&text[9..])].concat()] {
            assert!(decompressed(&compressed).unwrap() == text);
        }
        // Frames behind one another, with some to skip before, between and behind: zstd:chunked keeps its table of contents so.
        let skip = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let frames = [&skip[..], &zstd(&text[..9]), &skip, &zstd(&text[9..]), &skip].concat();
        assert!(decompressed(&frames).unwrap() == text);
    }

    #[test]
    fn the_stream_is_read_to_its_end() {
        for compressed in [gzip(b"x"), zstd(b"x")] {
            let mut stream = Decompressed::new(Hashing::new(&compressed[..])).unwrap();
            io::copy(&mut stream, &mut io::sink()).unwrap();
            assert_eq!(stream.into_inner().finish(), (Digest::of(&compressed), compressed.len() as u64));
        }
    }

    #[test]
    fn what_is_cut_off_or_asks_for_too_much_is_an_error() {
        for compressed in [gzip(&[7; 1000]), zstd(&[7; 1000])] {
            assert!(decompressed(&compressed[..compressed.len() - 1]).is_err());
        }
        assert!(decompressed(&[zstd(b"x"), b"garbage".to_vec()].concat()).is_err());
        // A frame header whose window descriptor says 2^31 bytes (RFC 8878, section 3.1.1.1.2), and an empty last block.
        assert!(decompressed(&[0x28, 0xb5, 0x2f, 0xfd, 0, (31 - 10) << 3, 1, 0, 0]).is_err());
        for (start, name) in [(&b"\xfd7zXZ\0"[..], "xz"), (b"BZh9", "bzip2")] {
            let error = Decompressed::new(start).err().unwrap();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
