//! The user namespace: being root inside without being root, `user_namespaces(7)`.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::unistd::{Gid, Uid};

use crate::{Birth, Child, Credentials, Gate, Isolation, Kind, Process};

/// Whether we lack root's rights, so that everything must happen in a user namespace.
pub fn rootless() -> bool {
    !Uid::effective().is_root()
}

/// A line of `/proc/PID/uid_map`: `count` ids that are `inside` and up in the namespace are `outside` and up in ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many, at least 1.
    pub count: u32,
}

impl FromStr for IdMap {
    type Err = anyhow::Error;

    /// Reads `INSIDE:OUTSIDE:COUNT`, as in `0:100000:65536`.
    fn from_str(text: &str) -> Result<IdMap> {
        let numbers: Vec<u32> = text.split(':').map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
        let &[inside, outside, count] = numbers.as_slice() else {
            bail!("{text:?} is not a map of ids (write INSIDE:OUTSIDE:COUNT, as in 0:100000:65536)");
        };
        ensure!(count > 0, "the map {text} maps no ids: COUNT is 0");
        let fits = |first: u32| first.checked_add(count).is_some();
        ensure!(fits(inside) && fits(outside), "the map {text} goes beyond the last id, 4294967294");
        Ok(IdMap { inside, outside, count })
    }
}

/// A user namespace, and its maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNamespace {
    /// For user ids.
    pub uids: Vec<IdMap>,
    /// For group ids.
    pub gids: Vec<IdMap>,
}

impl UserNamespace {
    /// The maps that the caller may have: root's own subordinate range for root; for an ordinary user its own id as
    /// root and, where `newuidmap(1)` and `/etc/subuid` permit, its subordinate ids from 1 up.
    pub fn for_caller() -> UserNamespace {
        let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
        if uid == 0 {
            let range = vec![IdMap { inside: 0, outside: 100_000, count: 65_536 }];
            return UserNamespace { uids: range.clone(), gids: range };
        }
        let one = |outside| vec![IdMap { inside: 0, outside, count: 1 }];
        let mut own = UserNamespace { uids: one(uid), gids: one(gid) };
        if find_in_path("newuidmap").is_some() && find_in_path("newgidmap").is_some() {
            let name = user_name(uid);
            if let (Some(uids), Some(gids)) =
                (subordinate("/etc/subuid", uid, name.as_deref()), subordinate("/etc/subgid", uid, name.as_deref()))
            {
                own.uids.push(uids);
                own.gids.push(gids);
            }
        }
        own
    }

    /// Whether only one id is mapped: then no file can belong to anyone else, and `setgroups(2)` is forbidden.
    pub fn single_id(&self) -> bool {
        matches!(self.uids.as_slice(), [IdMap { count: 1, .. }])
    }
}

impl Isolation for UserNamespace {
    fn births(&self) -> Vec<Birth> {
        vec![Birth::New(Kind::User)]
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        let directory = PathBuf::from(format!("/proc/{}", child.pid()));
        if !rootless() {
            write_map(&directory.join("uid_map"), &self.uids)?;
            return write_map(&directory.join("gid_map"), &self.gids);
        }
        if self.single_id() {
            // Since CVE-2014-8989 an ordinary user must give up setgroups(2) inside before mapping a group: leaving a
            // group could be a way around a permission that denies it something.
            write(&directory.join("setgroups"), "deny")?;
            write_map(&directory.join("uid_map"), &self.uids)?;
            return write_map(&directory.join("gid_map"), &self.gids);
        }
        run_helper("newuidmap", child, &self.uids)?;
        run_helper("newgidmap", child, &self.gids)
    }

    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        Credentials::default().assume().context("become root in the user namespace")
    }
}

fn write_map(path: &Path, map: &[IdMap]) -> Result<()> {
    let lines = map.iter().map(|m| format!("{} {} {}\n", m.inside, m.outside, m.count));
    write(path, &lines.collect::<String>())
}

/// Writes to a file of `/proc` in one `write(2)`, which such files insist on.
fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path).with_context(|| format!("open {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {:?} to {}", text.trim_end(), path.display()))
}

/// Has `newuidmap(1)` or `newgidmap(1)` write a map: they have the right to, for the ranges of `/etc/subuid`.
fn run_helper(helper: &str, child: &Child, map: &[IdMap]) -> Result<()> {
    let numbers = map.iter().flat_map(|m| [m.inside, m.outside, m.count]).map(|number| number.to_string());
    let output = Command::new(helper)
        .arg(child.pid().to_string())
        .args(numbers)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {helper}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{helper} could not map the ids: {}", told.trim_end());
    Ok(())
}

fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(crate::process::DEFAULT_PATH));
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// The name of a user in `/etc/passwd`, for `/etc/subuid`, where either may stand.
fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id == uid.to_string()).then(|| name.to_string())
    })
}

/// The first range of a user in `/etc/subuid` or `/etc/subgid` (`subuid(5)`), mapped from 1 up.
fn subordinate(file: &str, uid: u32, name: Option<&str>) -> Option<IdMap> {
    fs::read_to_string(file).ok()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let range = IdMap { inside: 1, outside: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        (Some(owner) == name || owner == uid.to_string()).then_some(range).filter(|range| range.count > 0)
    })
}

/// Fails where the kernel does not let this user make a user namespace, with the reason and the way out.
pub fn check_permitted() -> Result<()> {
    let limit = "/proc/sys/user/max_user_namespaces";
    match fs::read_to_string(limit) {
        Ok(text) if text.trim() == "0" => {
            return Err(anyhow!(
                "no user namespaces here: {limit} is 0 (as root: sysctl user.max_user_namespaces=15000)"
            ));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("this kernel has no user namespaces; run as root")
        }
        _ => {}
    }
    let refused = [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    for (file, value, mend) in refused {
        if fs::read_to_string(file).is_ok_and(|text| text.trim() == value) {
            bail!("ordinary users may not make user namespaces here: {file} is {value} (as root: sysctl {mend})");
        }
    }
    Ok(())
}
