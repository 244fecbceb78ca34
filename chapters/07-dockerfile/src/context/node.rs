//! What is in a tree: one file, directory, link or device, and which state of it.

use std::ffi::OsString;
use std::path::PathBuf;

use rustix::fs::{FileType, Stat};

/// What one source of a COPY names: a file, or a directory with all that is in it.
#[derive(Debug, Clone)]
pub struct Picked {
    /// Its name as it was written, or matched by a pattern; empty for the tree's root.
    pub name: OsString,
    /// The thing itself first, then what is below it, parents first.
    pub nodes: Vec<Node>,
}

/// One file, directory, link or device.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is in the tree, links resolved.
    pub path: PathBuf,
    /// Where it is below what was picked; empty for that itself.
    pub below: PathBuf,
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Which state of which file this is.
    pub identity: Identity,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Link(OsString),
    /// A FIFO, or a character or block device with its number.
    Special(FileType, u64),
}

/// A file's content cannot change without one of these changing (as `make`, `git` and `rsync` trust).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Device and inode number.
    pub inode: (u64, u64),
    /// Bytes.
    pub size: u64,
    /// Last change of the content: seconds, nanoseconds.
    pub mtime: (i64, u32),
    /// Last change of content or inode, which no program can set back.
    pub ctime: (i64, u32),
}

impl Identity {
    /// From what `stat(2)` says.
    pub fn new(stat: &Stat) -> Identity {
        Identity {
            inode: (stat.st_dev, stat.st_ino),
            size: stat.st_size as u64,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
        }
    }
}
