//! Writing the archive that Linux unpacks into its first file system: cpio's "new ASCII" format.
//!
//! An entry is a header of `070701` and thirteen numbers of eight hex digits (inode, mode, uid, gid, links, mtime, size, the
//! device's and the node's numbers, the length of the name, a checksum that is 0), the name with its NUL, and the content,
//! both padded to four bytes. An entry `TRAILER!!!` ends it. Source: `Documentation/driver-api/early-userspace/buffer-format`.

use std::io::{self, Write};

/// Writes entries; parents come before what is in them.
pub struct Writer<W> {
    out: W,
    inode: u32,
}

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

impl<W: Write> Writer<W> {
    /// An empty archive.
    pub fn new(out: W) -> Writer<W> {
        Writer { out, inode: 0 }
    }

    /// A directory, mode 0755.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY | 0o755, (0, 0), &[])
    }

    /// A file.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(name, REGULAR | mode, (0, 0), content)
    }

    /// A symbolic link.
    pub fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.entry(name, SYMLINK | 0o777, (0, 0), target.as_bytes())
    }

    /// A character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(name, CHARACTER | 0o600, (major, minor), &[])
    }

    /// Writes the end; what was written to is given back.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, node: (u32, u32), content: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).map_err(|_| io::Error::other("a file of more than 4 GiB"))?;
        let length = name.len() as u32 + 1;
        let numbers = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, node.0, node.1, length, 0];
        self.out.write_all(b"070701")?;
        for number in numbers {
            write!(self.out, "{number:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        // The header has 110 bytes; with the name and its NUL it ends at a multiple of four.
        let end = 110 + name.len() + 1;
        self.out.write_all(&[0; 4][..1 + end.next_multiple_of(4) - end])?;
        self.out.write_all(content)?;
        self.out.write_all(&[0; 4][..content.len().next_multiple_of(4) - content.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned() {
        for name in ["a", "ab", "abc", "abcd", "abcde"] {
            let mut writer = Writer::new(Vec::new());
            writer.file(name, 0o644, b"12345").expect("memory takes everything");
            let bytes = writer.finish().expect("memory takes everything");
            let header = 110 + name.len() + 1;
            let content = header.next_multiple_of(4);
            assert_eq!(&bytes[..6], b"070701");
            assert_eq!(&bytes[54..62], b"00000005");
            assert_eq!(&bytes[content..content + 5], b"12345");
            assert_eq!(&bytes[content + 8..content + 14], b"070701");
            assert_eq!(bytes.len() % 4, 0);
        }
    }
}
