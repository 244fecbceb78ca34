//! What there is before a program runs and must still be the same after it.
//!
//! A network namespace has no list of its own: it lives by a process, which is listed here, or by a mount, which is too.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::cgroups::{self, Cgroups};
use crate::{mounts, nftables};

/// Everything that lasts longer than a process, one line each.
#[derive(PartialEq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks around; at cgroups only where we have our own. Where we have none, an ordinary user can make none, and what comes
    /// and goes below `/sys/fs/cgroup` is the machine's.
    pub fn take(cgroups: &Cgroups) -> Result<Snapshot> {
        let mut lines = BTreeSet::new();
        lines.extend(mount_table()?.into_iter().map(|line| format!("mount {line}")));
        lines.extend(names("/sys/class/net").map(|name| format!("link {name}")));
        lines
            .extend(nftables::tables().context("list nftables")?.into_iter().map(|table| format!("nft table {table}")));
        if cgroups.made {
            let all = cgroups::below(Path::new("/sys/fs/cgroup"));
            lines.extend(all.iter().map(|path| format!("cgroup {}", path.display())));
        }
        for directory in ["/tmp", "/var/tmp", "/run", "/dev/shm", "/dev/mqueue", "/dev/pts"] {
            lines.extend(names(directory).map(|name| format!("file {directory}/{name}")));
        }
        // An engine's ROOT may keep images, layers and what its network needs; a container or a temporary file it may not.
        for directory in ["containers", "tmp"].map(|name| format!("{}/{name}", mounts::ROOT)) {
            lines.extend(names(&directory).map(|name| format!("file {directory}/{name}")));
        }
        lines.extend(system_v_ipc());
        Ok(Snapshot(lines))
    }

    /// What is here and was not in `before`, or was there and is not here.
    pub fn added_to(&self, before: &Snapshot) -> Vec<String> {
        let new = self.0.difference(&before.0).cloned();
        let gone = before.0.difference(&self.0).map(|line| format!("{line} is gone"));
        new.chain(gone).collect()
    }
}

/// The mount table without the numbers, which change for no reason of ours.
fn mount_table() -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("read the mount table")?;
    Ok(table
        .lines()
        .map(|line| line.split(' ').skip(3).filter(|field| !field.starts_with("shared:")).collect::<Vec<_>>().join(" "))
        .collect())
}

fn names(directory: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Segments, queues and semaphores of `sysvipc(7)`, which outlive their makers.
fn system_v_ipc() -> Vec<String> {
    let read = |kind: &str| fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
    ["shm", "msg", "sem"]
        .into_iter()
        .flat_map(|kind| read(kind).lines().skip(1).map(|line| format!("{kind} {}", line.trim())).collect::<Vec<_>>())
        .collect()
}

/// Every process except the ones that belong.
pub fn processes(expected: &[Pid]) -> Vec<String> {
    names("/proc")
        .filter_map(|name| name.parse().ok())
        .filter(|pid| !expected.contains(&Pid::from_raw(*pid)))
        .map(|pid: i32| {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} ({}) {command}", name.trim())
        })
        .collect()
}
