//! Subordinate ids: what an ordinary user may map besides its own, `subuid(5)`, and the programs that do it for the
//! user, `newuidmap(1)` and `newgidmap(1)`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::prctl;

use crate::id_map::{self, IdMap};

/// User ids or group ids: each has a map, a file of grants and a helper of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    Users,
    Groups,
}

impl Ids {
    pub(crate) fn map_file(self) -> &'static str {
        match self {
            Ids::Users => "uid_map",
            Ids::Groups => "gid_map",
        }
    }

    fn grants(self) -> &'static str {
        match self {
            Ids::Users => "/etc/subuid",
            Ids::Groups => "/etc/subgid",
        }
    }

    fn helper(self) -> &'static str {
        match self {
            Ids::Users => "newuidmap",
            Ids::Groups => "newgidmap",
        }
    }

    /// The ranges that a user may map now: granted, existing in the user namespace that we are in, and with a helper that
    /// can do it.
    pub(crate) fn permitted(self, uid: u32) -> Vec<(u32, u32)> {
        match find_in_path(self.helper()) {
            Some(helper) if obstacle(&helper).is_none() => {}
            _ => return Vec::new(),
        }
        let text = fs::read_to_string(self.grants()).unwrap_or_default();
        let own = id_map::own(self.map_file());
        let mut ranges = ranges(&text, uid, user_name(uid).as_deref());
        ranges.retain(|(first, count)| id_map::covers(&own, *first, *count));
        ranges
    }

    /// Has the helper write the map of a process: it has the right to, for what is granted.
    ///
    /// `pid` is the process's number where `/proc` is mounted.
    pub(crate) fn write(self, pid: i32, map: &[IdMap]) -> Result<()> {
        let helper = self.helper();
        let Some(program) = find_in_path(helper) else {
            bail!("{helper} is missing: without it an ordinary user maps one id only, its own (package uidmap)");
        };
        let numbers = map.iter().flat_map(|m| [m.inside, m.outside, m.count]).map(|number| number.to_string());
        let output = Command::new(&program)
            .arg(pid.to_string())
            .args(numbers)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {}", program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&output.stderr);
        let told = told.lines().next().unwrap_or_default().trim_start_matches(helper).trim_start_matches(": ");
        let way_out = obstacle(&program).unwrap_or_else(|| {
            let grants = self.grants();
            format!("an ordinary user may map its own id and what {grants} grants it; as root: usermod --add-sub{}s 100000-165535 USER", &grants[8..])
        });
        bail!("{helper} could not map the ids: {told} ({way_out})")
    }
}

/// Why a helper cannot have more rights than its caller, with the way out.
fn obstacle(helper: &Path) -> Option<String> {
    if prctl::get_no_new_privs().unwrap_or(false) {
        return Some("no_new_privs is set, so no program gives more rights than we have".into());
    }
    let set_uid = helper.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o4000 != 0);
    let capable = rustix::fs::getxattr(helper, "security.capability", &mut [0u8; 64]).is_ok();
    let path = helper.display();
    (!set_uid && !capable).then(|| format!("{path} is not setuid root; as root: chmod u+s {path}"))
}

fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(crate::process::DEFAULT_PATH));
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// The name of a user in `/etc/passwd`.
pub fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id == uid.to_string()).then(|| name.to_string())
    })
}

/// The ranges of a user, `(first, count)`, from lines like `learner:100000:65536`. The owner is a name or a number, and
/// may have several lines.
fn ranges(text: &str, uid: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        let ours = Some(owner) == name || owner == uid.to_string();
        (ours && count > 0 && first.checked_add(count).is_some()).then_some((first, count))
    };
    text.lines().filter_map(line).collect()
}
