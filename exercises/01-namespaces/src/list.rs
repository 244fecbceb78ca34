//! Who shares which namespace: what `lsns(8)` shows.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Result as IoResult};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};

use crate::Kind;
use crate::subordinate::user_name;

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

/// What is known of the namespaces of this machine.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// In the order of kind and lowest process.
    pub namespaces: Vec<Namespace>,
    /// How many processes are not ours to look at.
    pub hidden: usize,
}

/// All namespaces of the processes that we may look at: our own, or with root's rights all.
pub fn namespaces() -> Result<Listing> {
    let mut membership = Vec::new();
    let mut hidden = 0;
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let name = entry.context("read /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match of_process(&pid) {
            Ok(all) => membership.extend(all.into_iter().map(|(kind, inode)| (kind, inode, pid))),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => hidden += 1,
            Err(_) => {} // it has ended meanwhile
        }
    }
    Ok(Listing { namespaces: group(membership), hidden })
}

/// The namespaces of a process: kinds and inode numbers. `pid` is a number or `self`.
pub fn of_process(pid: &impl std::fmt::Display) -> IoResult<Vec<(Kind, u64)>> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        match fs::metadata(format!("/proc/{pid}/ns/{kind}")) {
            Ok(metadata) => all.push((kind, metadata.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => {} // a kind that this kernel does not have
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// From who is where to where is who.
fn group(membership: Vec<(Kind, u64, i32)>) -> Vec<Namespace> {
    // ANCHOR: ex-list
    // Exercise 1.9, 25 minutes. The page: 01-namespaces/joining.md; hints: cargo x hint 1.9
    todo!("exercise 1.9: List who shares which namespace")
    // ANCHOR_END: ex-list
}

/// Whose a process is: the name of its user, or the number where it has none.
pub fn user(pid: i32) -> String {
    match fs::metadata(format!("/proc/{pid}")) {
        Ok(metadata) => user_name(metadata.uid()).unwrap_or_else(|| metadata.uid().to_string()),
        Err(_) => "?".into(),
    }
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
    // It may be anything that its process has chosen, escape sequences for our terminal included.
    line.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
