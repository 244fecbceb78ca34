//! An ordinary user who runs the program: who they are, and the cgroup that was delegated to them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::cgroups::{self, Cgroups};
use crate::mounts;

/// A user, and their cgroup.
pub struct Delegated {
    user: u32,
    /// None where there is no v2 alone: v1 cannot be delegated safely.
    cgroup: Option<PathBuf>,
}

impl Delegated {
    /// Makes the cgroup and gives it away, as systemd does: the directory and three files, not the limits in it
    /// (`cgroup-v2.rst`, "Delegation"). ROOT becomes the user's too.
    pub fn to(user: u32, cgroups: &Cgroups) -> Result<Delegated> {
        chown(mounts::ROOT, Some(user), Some(user)).context("give ROOT away")?;
        let [only] = &cgroups.hierarchies[..] else { return Ok(Delegated { user, cgroup: None }) };
        if only.v1_options.is_some() || !cgroups.made {
            return Ok(Delegated { user, cgroup: None });
        }
        let cgroup = only.mountpoint.join("user");
        fs::create_dir(&cgroup).context("make the user's cgroup")?;
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(cgroup.join(file), Some(user), Some(user)).with_context(|| format!("give {file} away"))?;
        }
        Ok(Delegated { user, cgroup: Some(cgroup) })
    }

    /// Has a command started as the user, in their cgroup.
    pub fn start_in(&self, command: &mut Command) {
        let user = self.user;
        let procs = self.cgroup.as_ref().map(|cgroup| cgroup.join("cgroup.procs"));
        command.env("USER", "learner");
        let enter = move || {
            if let Some(procs) = &procs {
                OpenOptions::new().write(true).open(procs)?.write_all(b"0")?;
            }
            setgroups(&[])?;
            setgid(Gid::from_raw(user))?;
            setuid(Uid::from_raw(user))?;
            Ok(())
        };
        // SAFETY: this program has one thread, so that after fork everything is allowed.
        unsafe { command.pre_exec(enter) };
    }

    /// Removes what an engine leaves in the user's cgroup as long as that is there: the leaf for those who stood in the way.
    pub fn tidy(&self) {
        for leaf in self.cgroup.iter().flat_map(fs::read_dir).flatten().flatten() {
            if leaf.file_name() == "init" {
                cgroups::below(&leaf.path()).iter().for_each(|directory| drop(fs::remove_dir(directory)));
            }
        }
    }
}
