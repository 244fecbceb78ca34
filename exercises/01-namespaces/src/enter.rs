//! Joining the namespaces of a process that runs: what `nsenter(1)` does, and every `exec` into a container.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::{Birth, Credentials, Gate, Isolation, Kind, Process};

/// The namespaces of a process, to be born into.
#[derive(Clone, Debug)]
pub struct Enter {
    pidfd: Rc<OwnedFd>,
    kinds: Vec<Kind>,
}

impl Enter {
    /// All namespaces in which a process differs from us.
    pub fn all(pid: Pid) -> Result<Enter> {
        Enter::only(pid, &Kind::ALL)
    }

    /// Those among these kinds in which a process differs from us. (To join the user namespace one is in already is
    /// EINVAL, `setns(2)`; for the other kinds it would do nothing.)
    pub fn only(pid: Pid, kinds: &[Kind]) -> Result<Enter> {
        let Some(raw) = rustix::process::Pid::from_raw(pid.as_raw()) else {
            bail!("{pid} is not the number of a process");
        };
        // The pidfd first: whatever is read of /proc/PID after it is of that process or fails.
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).with_context(|| format!("find process {pid}"))?;
        let mut differing = Vec::new();
        for kind in kinds {
            let theirs = identity(&format!("{pid}"), *kind)?;
            if theirs != identity("self", *kind)? {
                differing.push(*kind);
            }
        }
        Ok(Enter { pidfd: Rc::new(pidfd), kinds: differing })
    }

    /// The kinds that will be joined.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }
}

/// What identifies a namespace: the text of its link in `/proc/PID/ns`, as in `uts:[4026531838]`.
pub(crate) fn identity(pid: &str, kind: Kind) -> Result<PathBuf> {
    let path = format!("/proc/{pid}/ns/{kind}");
    fs::read_link(&path).with_context(|| format!("look at {path}"))
}

impl Isolation for Enter {
    fn births(&self) -> Vec<Birth> {
        match self.kinds.as_slice() {
            [] => vec![],
            kinds => vec![Birth::Join(Rc::clone(&self.pidfd), kinds.to_vec())],
        }
    }

    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        if self.kinds.contains(&Kind::User) {
            // We came with ids that may not be mapped there, but with all capabilities: enough to become its root.
            Credentials::default().assume().context("become root in the user namespace")?;
        }
        Ok(())
    }
}
