//! Digests: the names of content.
//!
//! A layer has two of them, which the popular notes mix up. Its **digest** is taken over the bytes as they travel (the
//! compressed tar) and is what a manifest lists; its **diff ID** is taken over the uncompressed tar and is what an image
//! config lists. Compressing the same tar again may change the first and never changes the second.
//! (OCI image-spec, `descriptor.md` and `config.md`.)

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use anyhow::{Error, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest in the registries' spelling: `sha256:` and 64 lower-case hex digits.
///
/// The image-spec knows other algorithms, which hardly an image uses, and a name we cannot check is no name, so they are
/// refused. Because every value went through the parser, [`Digest::hex`] is always safe as a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    const PREFIX: &'static str = "sha256:";

    /// The digest of bytes that are already in memory.
    pub fn of(bytes: impl AsRef<[u8]>) -> Digest {
        Digest::from_hash(Sha256::digest(bytes.as_ref()).into())
    }

    /// The 64 hex digits, without the algorithm: how a blob's or layer's file is called.
    pub fn hex(&self) -> &str {
        &self.0[Self::PREFIX.len()..]
    }

    /// The whole name, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_hash(hash: [u8; 32]) -> Digest {
        use fmt::Write;
        let mut name = String::with_capacity(Self::PREFIX.len() + 64);
        name.push_str(Self::PREFIX);
        for byte in hash {
            write!(name, "{byte:02x}").expect("writing to a String cannot fail");
        }
        Digest(name)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(name: &str) -> Result<Digest> {
        let Some(hex) = name.strip_prefix(Self::PREFIX) else {
            match name.split_once(':') {
                Some((algorithm, _)) => bail!("digest algorithm {algorithm:?} is not supported (only sha256 is)"),
                None => bail!("{name:?} is not a digest (expected sha256:… )"),
            }
        };
        ensure!(hex.len() == 64, "{name:?} is not a digest: {} hex digits where 64 belong", hex.len());
        ensure!(
            hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            "{name:?} is not a digest: only lower-case hex digits belong after sha256:"
        );
        Ok(Digest(name.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(name: String) -> Result<Digest> {
        name.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The chain ID of a stack of layers, base first: the name of the *result* of applying them, not of one layer.
///
/// `chain(L0) = L0`, `chain(L0…Ln) = SHA256(chain(L0…Ln-1) + " " + Ln)` (image-spec, `config.md`). `None` for no layers.
pub fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    let (base, rest) = diff_ids.split_first()?;
    Some(rest.iter().fold(base.clone(), |chain, diff_id| Digest::of(format!("{chain} {diff_id}"))))
}

/// Hashes what passes through it, on the way in (as a [`Read`]) or on the way out (as a [`Write`]).
pub struct Hashing<T> {
    inner: T,
    hash: Sha256,
    length: u64,
}

impl<T> Hashing<T> {
    /// Starts with nothing seen.
    pub fn new(inner: T) -> Hashing<T> {
        Hashing { inner, hash: Sha256::new(), length: 0 }
    }

    /// How many bytes have passed.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest of all that has passed, and its length in bytes.
    pub fn finish(self) -> (Digest, u64) {
        (Digest::from_hash(self.hash.finalize().into()), self.length)
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.saw(&buffer[..count]);
        Ok(count)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.saw(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_the_empty_content() {
        assert_eq!(Digest::of("").as_str(), EMPTY);
        assert_eq!(Hashing::new(io::empty()).finish().0.as_str(), EMPTY);
    }

    #[test]
    fn refuses_what_is_no_digest() {
        for bad in ["", "sha256:", "sha512:00", &EMPTY[..70], &EMPTY.to_uppercase(), "sha256:../../../etc/passwd"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?} was taken for a digest");
        }
        let upper = EMPTY.replace('e', "E");
        assert!(upper.parse::<Digest>().is_err());
    }

    /// The example of the image-spec: a chain of one is the layer itself; more are hashed pairwise.
    #[test]
    fn chains() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(std::slice::from_ref(&a)), Some(a.clone()));
        assert_eq!(chain_id(&[a.clone(), b.clone()]), Some(Digest::of(format!("{a} {b}"))));
    }

    #[test]
    fn hashes_on_the_way() {
        let mut out = Hashing::new(Vec::new());
        out.write_all(b"hello").unwrap();
        assert_eq!(out.length(), 5);
        assert_eq!(out.finish().0, Digest::of("hello"));
    }
}
