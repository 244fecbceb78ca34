//! Joining the namespaces of a process that runs: what `nsenter(1)` does, and every `exec` into a container.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::{Birth, Credentials, Gate, Isolation, Kind, Process, child, id_map};

/// The namespaces of a process, to be born into.
#[derive(Clone, Debug)]
pub struct Enter {
    pidfd: Rc<OwnedFd>,
    kinds: Vec<Kind>,
    has_root: bool,
}

impl Enter {
    /// All namespaces in which a process differs from us.
    pub fn all(pid: Pid) -> Result<Enter> {
        Enter::only(pid, &Kind::ALL)
    }

    /// Those among these kinds in which a process differs from us. (To join the user namespace one is in already is
    /// EINVAL, `setns(2)`; for the other kinds it would do nothing.)
    ///
    /// `pid` is its number in our pid namespace.
    pub fn only(pid: Pid, kinds: &[Kind]) -> Result<Enter> {
        // A number may come to name another process from one moment to the next, a pidfd never does.
        let pidfd = open(pid)?;
        let gone = || format!("process {pid} has ended");
        let number = child::pid_in_proc(pidfd.as_fd())?.with_context(gone)?;
        ensure!(!is_kernel_thread(number), "process {pid} is a thread of the kernel, not in a container");
        let mut differing = Vec::new();
        for kind in kinds {
            if identity(&number.to_string(), *kind)? != identity("self", *kind)? {
                differing.push(*kind);
            }
        }
        let has_root = has_root(number);
        // Still the same: then what we have just read was of this process, and not of one with its number.
        child::pid_in_proc(pidfd.as_fd())?.with_context(gone)?;
        Ok(Enter { pidfd: Rc::new(pidfd), kinds: differing, has_root })
    }

    /// The kinds that will be joined.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }
}

fn open(pid: Pid) -> Result<OwnedFd> {
    // rustix takes a negative number for a mistake of the program's.
    let Some(raw) = rustix::process::Pid::from_raw(pid.as_raw().max(0)) else {
        bail!("{pid} is not the number of a process");
    };
    match pidfd_open(raw, PidfdFlags::empty()) {
        Err(Errno::SRCH) => bail!("there is no process {pid}"),
        // ENOENT and EINVAL: a thread's number, not a process's.
        Err(Errno::INVAL | Errno::NOENT) => bail!("{pid} is a thread of another process, not a process"),
        result => result.with_context(|| format!("find process {pid}")),
    }
}

/// What identifies a namespace: the text of its link in `/proc/PID/ns`, as in `uts:[4026531838]`.
pub(crate) fn identity(pid: &str, kind: Kind) -> Result<PathBuf> {
    let path = format!("/proc/{pid}/ns/{kind}");
    fs::read_link(&path).map_err(|error| {
        let way_out = match error.kind() {
            ErrorKind::PermissionDenied => " (the process is another user's: run as root)",
            ErrorKind::NotFound => " (it is ending, or this kernel has no such namespaces)",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("look at {path}{way_out}"))
    })
}

/// Whether there is a user 0 and a group 0 in the user namespace of a process.
fn has_root(pid: i32) -> bool {
    let root = |file| id_map::of(&pid, file).iter().any(|line| line.maps(0));
    root("uid_map") && root("gid_map")
}

/// By the flag PF_KTHREAD among those in `/proc/PID/stat` (`proc_pid_stat(5)`).
fn is_kernel_thread(pid: i32) -> bool {
    const PF_KTHREAD: u64 = 0x0020_0000; // include/linux/sched.h
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    flags(&stat).is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// The ninth field. The second is a name in parentheses, which may have spaces and parentheses in it.
fn flags(stat: &str) -> Option<u64> {
    stat.rsplit_once(") ")?.1.split(' ').nth(9 - 3)?.parse().ok()
}

impl Isolation for Enter {
    fn births(&self) -> Vec<Birth> {
        match self.kinds.as_slice() {
            [] => vec![],
            kinds => vec![Birth::Join(Rc::clone(&self.pidfd), kinds.to_vec())],
        }
    }

    fn inside(&mut self, _: &Gate, _: &mut Process) -> Result<()> {
        if self.kinds.contains(&Kind::User) && self.has_root {
            // We came with ids that may not be mapped there, but with all capabilities: enough to become its root.
            Credentials::default().assume().context("become root in the user namespace")?;
        }
        Ok(())
    }
}
