//! Everything that a process in a container can tell of its container, in lines that two engines can be compared by.

use std::collections::BTreeSet;
use std::fs;
use std::io::IsTerminal;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::stat::{Mode, major, minor, umask};
use nix::unistd::{getcwd, getegid, geteuid, getgroups, getpid, getsid};

use crate::{calls, facts};

/// Prints `SECTION\tLINE`. What differs from run to run, ids and numbers of inodes, is left out.
pub fn portrait() -> Result<()> {
    section("privileges", facts::privilege_lines()?);
    section("identity", identity()?);
    section("descriptors", descriptors()?);
    section("environment", environment());
    section("limits", facts::limits().into_iter().map(|(name, values)| format!("{name} {values}")));
    section("mounts", mounts()?);
    section("masks", MASKABLE.iter().filter_map(|path| Some(format!("{path} {}", cover_of(path)?))));
    section("devices", devices(Path::new("/dev"))?);
    section("sysctls", SYSCTLS.iter().filter_map(|name| sysctl(name)));
    section("namespaces", namespaces());
    section("calls", calls::refused());
    Ok(())
}

fn section(name: &str, lines: impl IntoIterator<Item = String>) {
    for line in lines {
        println!("{name}\t{line}");
    }
}

fn identity() -> Result<Vec<String>> {
    let groups: Vec<String> = getgroups()?.iter().map(ToString::to_string).collect();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let leads = if getsid(None)? == getpid() { "yes" } else { "no" };
    Ok(vec![
        format!("uid {}", geteuid()),
        format!("gid {}", getegid()),
        format!("groups {}", groups.join(",")),
        format!("pid {}", if getpid().as_raw() == 1 { "1" } else { "another" }),
        format!("session leader {leads}"),
        format!("working directory {}", getcwd()?.display()),
        format!("umask {:04o}", umask(Mode::empty()).bits()),
        format!("oom_score_adj {}", read("/proc/self/oom_score_adj")),
        format!("domainname {}", nix::sys::utsname::uname()?.domainname().display()),
        format!("init {}", read("/proc/1/comm")),
        format!("terminal {} {} {}", terminal(0), terminal(1), terminal(2)),
        format!("controlling terminal {}", if fs::File::open("/dev/tty").is_ok() { "yes" } else { "no" }),
    ])
}

fn terminal(descriptor: i32) -> &'static str {
    let is = match descriptor {
        0 => std::io::stdin().is_terminal(),
        1 => std::io::stdout().is_terminal(),
        _ => std::io::stderr().is_terminal(),
    };
    if is { "yes" } else { "no" }
}

/// `number kind` of each; the one that reads the directory is not counted.
fn descriptors() -> Result<Vec<String>> {
    let mut open = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").context("list /proc/self/fd")? {
        let entry = entry?;
        let target = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        let kind = match target.split_once(':') {
            Some((kind, _)) => kind.to_owned(),
            None if target.starts_with("/dev/pts/") => "terminal".to_owned(),
            None => target.clone(),
        };
        if !target.ends_with("/fd") {
            open.push(format!("{} {kind}", entry.file_name().display()));
        }
    }
    open.sort();
    Ok(open)
}

/// Sorted; a host name that is the container's id is none.
fn environment() -> BTreeSet<String> {
    let generated = |value: &str| value.len() == 12 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    std::env::vars()
        .map(|(key, value)| match key == "HOSTNAME" && generated(&value) {
            true => format!("{key}=<id>"),
            false => format!("{key}={value}"),
        })
        .collect()
}

/// `PLACE TYPE ATTRIBUTES OPTIONS` of each mount that is no mask. A file's is `bind`, whatever it lies on.
fn mounts() -> Result<BTreeSet<String>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("read the mount table")?;
    let mut lines = BTreeSet::new();
    for line in table.lines() {
        let (left, right) = line.split_once(" - ").context("an odd line in the mount table")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (Some(place), Some(attributes), Some(kind), Some(options)) =
            (left.get(4), left.get(5), right.first(), right.get(2))
        else {
            continue;
        };
        if is_mask(place) {
            continue;
        }
        let shared = if line.contains(" shared:") {
            " shared"
        } else if line.contains(" master:") {
            " slave"
        } else {
            ""
        };
        let attributes = attributes.replace(",relatime", "");
        // Which hierarchies there are, and how the machine has put them together, is its own affair.
        if place.starts_with("/sys/fs/cgroup") {
            if kind.starts_with("cgroup") {
                lines.insert(format!("/sys/fs/cgroup… {attributes}{shared}"));
            }
            continue;
        }
        let bind = Path::new(place).is_file() || Path::new(place).starts_with("/data");
        let kind = if bind { "bind" } else { kind };
        let told = ["size", "mode", "ptmxmode", "gid"];
        let mut options: Vec<&str> = options
            .split(',')
            .filter(|option| !bind && option.split_once('=').is_some_and(|(key, _)| told.contains(&key)))
            .collect();
        options.sort_unstable();
        lines.insert(format!("{place} {kind} {attributes}{shared} {}", options.join(",")).trim_end().to_owned());
    }
    Ok(lines)
}

fn is_mask(place: &str) -> bool {
    MASKABLE.contains(&place) || place.ends_with("/thermal_throttle") || place.starts_with("/proc/acpi/")
}

/// What engines hide or make read-only; each is looked at whether or not it is on an engine's list.
const MASKABLE: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/interrupts",
    "/proc/irq",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
    "/sys/firmware",
];

/// How a path is: `hidden`, `read-only`, or as the kernel made it, `open`. None where it does not exist.
fn cover_of(path: &str) -> Option<&'static str> {
    let it = fs::metadata(path).ok()?;
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = table.lines().rev().find(|line| line.split(' ').nth(4) == Some(path));
    let Some(mount) = mount else { return Some("open") };
    let kind = mount.split(" - ").nth(1).and_then(|right| right.split(' ').next()).unwrap_or_default();
    let hidden = match it.is_dir() {
        // Empty, and no directory of the kernel's.
        true => kind == "tmpfs" && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()),
        // The null device.
        false => it.file_type().is_char_device() && (major(it.rdev()), minor(it.rdev())) == (1, 3),
    };
    let read_only = mount.split(' ').nth(5).is_some_and(|attributes| attributes.split(',').any(|one| one == "ro"));
    Some(if hidden {
        "hidden"
    } else if read_only {
        "read-only"
    } else {
        "open"
    })
}

/// What is in a directory of devices: type, numbers, owner and mode, or where a link leads.
fn devices(directory: &Path) -> Result<BTreeSet<String>> {
    let mut lines = BTreeSet::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).context("list /dev")?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let it = fs::symlink_metadata(&path)?;
        let kind = it.file_type();
        // Is there where the kernel has what it leads to.
        if path == Path::new("/dev/core") {
            continue;
        }
        let numbers = format!("{}:{}", major(it.rdev()), minor(it.rdev()));
        let owner = format!("{}:{} {:04o}", it.uid(), it.gid(), it.mode() & 0o7777);
        lines.insert(match () {
            () if kind.is_symlink() => format!("{} -> {}", path.display(), fs::read_link(&path)?.display()),
            // Terminals and the like have the number of the moment.
            () if numbers.starts_with("136:") => format!("{} terminal {owner}", path.display()),
            () if kind.is_char_device() => format!("{} c {numbers} {owner}", path.display()),
            () if kind.is_block_device() => format!("{} b {numbers} {owner}", path.display()),
            () if kind.is_dir() => format!("{} directory {owner}", path.display()),
            () => format!("{} file {owner}", path.display()),
        });
        if kind.is_dir() {
            lines.extend(devices(&path)?);
        }
    }
    Ok(lines)
}

/// Parameters of the namespaces that a container has, by their names in /proc/sys.
const SYSCTLS: &[&str] = &[
    "fs/mqueue/msg_max",
    "fs/mqueue/queues_max",
    "kernel/msgmax",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "kernel/shmmax",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ping_group_range",
    "net/ipv6/conf/all/disable_ipv6",
];

fn sysctl(name: &str) -> Option<String> {
    let value = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    Some(format!("{name} {}", value.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// The links, as they are: only outside can it be told which are the host's.
fn namespaces() -> Vec<String> {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let link = |kind: &&str| Some(fs::read_link(format!("/proc/self/ns/{kind}")).ok()?.display().to_string());
    kinds.iter().filter_map(link).collect()
}
