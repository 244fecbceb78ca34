//! Who shares which namespace: what `lsns(8)` shows.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};

use crate::Kind;

/// A namespace with processes in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its kind.
    pub kind: Kind,
    /// Its inode number on the kernel's `nsfs`: two processes with the same one share it.
    pub inode: u64,
    /// The processes in it that we may look at, lowest first.
    pub pids: Vec<i32>,
}

/// All namespaces of the processes that we may look at (our own, or with root's rights all), in the order of kind and
/// lowest process.
pub fn namespaces() -> Result<Vec<Namespace>> {
    let mut found: BTreeMap<(Kind, u64), Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let name = entry.context("read /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        for kind in Kind::ALL {
            // Gone meanwhile, a kernel thread's, or not ours to look at.
            if let Ok(metadata) = fs::metadata(format!("/proc/{pid}/ns/{kind}")) {
                found.entry((kind, metadata.ino())).or_default().push(pid);
            }
        }
    }
    let mut all: Vec<Namespace> = found
        .into_iter()
        .map(|((kind, inode), mut pids)| {
            pids.sort_unstable();
            Namespace { kind, inode, pids }
        })
        .collect();
    all.sort_by_key(|namespace| (namespace.kind, namespace.pids[0]));
    Ok(all)
}

/// The command line of a process, or its name in brackets where it has none (as `ps` shows it).
pub fn command(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return format!("[{}]", name.trim_end());
    }
    let line = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
    line.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
