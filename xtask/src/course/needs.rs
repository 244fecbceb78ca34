//! What exercises and transcripts need of a machine, and whether this one has it.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::{doctor, tools};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Real root, not that of a user namespace.
    Root,
    /// User namespaces for ordinary users.
    UserNamespace,
    /// Ranges of ids for ordinary users: newuidmap(1) and `/etc/subuid`.
    SubordinateIds,
    /// A cgroup v1 hierarchy with the memory controller, writable.
    Cgroup1,
    /// cgroup v2 with controllers, writable.
    Cgroup2,
    /// Mount namespaces: had by root, and by whoever has user namespaces.
    MountNamespace,
    /// Network namespaces, the same.
    NetworkNamespace,
    /// overlayfs.
    Overlay,
    /// Debian's `docker-registry`.
    Registry,
}

const NAMES: [(&str, Need); 9] = [
    ("root", Need::Root),
    ("userns", Need::UserNamespace),
    ("subids", Need::SubordinateIds),
    ("cgroup1", Need::Cgroup1),
    ("cgroup2", Need::Cgroup2),
    ("mountns", Need::MountNamespace),
    ("netns", Need::NetworkNamespace),
    ("overlay", Need::Overlay),
    ("registry", Need::Registry),
];

impl Need {
    /// As in the table.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, need)| *need == self).map_or("?", |(name, _)| name)
    }

    /// Reads a name; `none` is no need.
    pub fn parse(name: &str) -> Result<Option<Need>> {
        if name == "none" {
            return Ok(None);
        }
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, need)) => Ok(Some(*need)),
            None => {
                let names = NAMES.map(|(name, _)| name).join(", ");
                bail!("unknown need {name:?} (known: none, {names})")
            }
        }
    }

    /// Why it is not to be had here, with the way out; `None` if it is.
    pub fn missing(self) -> Option<String> {
        let text = match self {
            Need::Root if tools::is_root() => return None,
            Need::Root => "needs root: sudo -s, and cargo x again".to_owned(),
            Need::UserNamespace => return doctor::user_namespaces().missing(),
            Need::SubordinateIds if tools::is_root() => return None,
            Need::SubordinateIds if tools::find("newuidmap").is_some() && has_range() => return None,
            Need::SubordinateIds => {
                "needs a range of ids: apt-get install uidmap, and a line in /etc/subuid".to_owned()
            }
            Need::Cgroup1 if tools::is_root() && cgroup1() => return None,
            Need::Cgroup1 => "needs root and a machine with cgroup v1".to_owned(),
            Need::Cgroup2 if tools::is_root() && Path::new("/sys/fs/cgroup/cgroup.controllers").exists() => {
                return None;
            }
            Need::Cgroup2 => "needs root and a machine with cgroup v2 alone: cargo x vm".to_owned(),
            Need::MountNamespace | Need::NetworkNamespace if tools::is_root() => return None,
            Need::MountNamespace | Need::NetworkNamespace => return doctor::user_namespaces().missing(),
            Need::Overlay => return doctor::overlay().missing(),
            Need::Registry if tools::find("docker-registry").is_some() => return None,
            Need::Registry => "needs a registry: apt-get install docker-registry".to_owned(),
        };
        Some(text)
    }
}

/// The first of several needs that is not met.
pub fn missing(needs: &[Need]) -> Option<String> {
    needs.iter().find_map(|need| need.missing())
}

fn cgroup1() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.contains(" - cgroup ") && line.ends_with("memory"))
}

fn has_range() -> bool {
    let user = std::env::var("USER").unwrap_or_default();
    let ranges = fs::read_to_string("/etc/subuid").unwrap_or_default();
    ranges.lines().any(|line| line.split(':').next() == Some(&user))
}
