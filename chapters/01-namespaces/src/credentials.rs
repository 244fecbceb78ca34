//! Who the process is: user, group, supplementary groups (`credentials(7)`).

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::{Gate, Isolation, Process};

/// The ids that the payload runs with, as they count inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User id, 0 to 2³²−2.
    pub uid: u32,
    /// Group id, 0 to 2³²−2.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// Takes these ids on, for good. The groups go first: the right to set them goes with the user id.
    ///
    /// The supplementary groups are set even when there are none: those of the caller would stay (`credentials(7)`). In a
    /// user namespace with one mapped id `setgroups(2)` is forbidden (CVE-2014-8989): nobody can be in further groups
    /// there, and the process is left in those that the namespace's maker had.
    pub fn assume(&self) -> Result<()> {
        // ANCHOR: assume
        let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        match setgroups(&groups) {
            Err(nix::Error::EPERM) if setgroups_denied() => {}
            result => result.with_context(|| format!("set the groups {:?}", self.groups))?,
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setresgid(gid, gid, gid).with_context(|| format!("become group {gid}{}", unmapped(self.gid)))?;
        setresuid(uid, uid, uid).with_context(|| format!("become user {uid}{}", unmapped(self.uid)))
        // ANCHOR_END: assume
    }
}

/// `/proc/self/setgroups`, `user_namespaces(7)`. With no `/proc` to ask, only a single mapped id can be the reason.
fn setgroups_denied() -> bool {
    fs::read_to_string("/proc/self/setgroups").map_or(true, |text| text.trim_end() == "deny")
}

/// EINVAL from these calls has one meaning that its text does not tell.
fn unmapped(id: u32) -> &'static str {
    if id == 0 { "" } else { " (it must be mapped in the user namespace)" }
}

impl Isolation for Credentials {
    fn inside(&mut self, _: &Gate, process: &mut Process) -> Result<()> {
        process.enter_cwd()?; // while we may still go everywhere
        self.assume()
    }
}
