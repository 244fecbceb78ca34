//! The only `clone3(2)` of the whole tree, and joining namespaces that exist.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;

use crate::{Birth, Child, Kind, rootless, user};

/// `CLONE_INTO_CGROUP` of `linux/sched.h`. Not the `libc` crate's constant of that name: that one is declared as a C
/// `int`, which the value does not fit into, and is 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// All that a child is born in, gathered from its isolations.
#[derive(Debug, Default)]
pub(crate) struct Births {
    new: u64,
    join: Vec<(Rc<OwnedFd>, Vec<Kind>)>,
    cgroup: Option<Rc<OwnedFd>>,
}

impl Births {
    pub(crate) fn gather(births: impl Iterator<Item = Birth>) -> Births {
        let mut all = Births::default();
        for birth in births {
            match birth {
                Birth::New(kind) => all.new |= kind.flag(),
                Birth::Join(fd, kinds) => all.join.push((fd, kinds)),
                Birth::Cgroup(fd) => all.cgroup = Some(fd),
            }
        }
        all
    }

    /// Whether a namespace of this kind is made.
    pub(crate) fn makes(&self, kind: Kind) -> bool {
        self.new & kind.flag() != 0
    }

    /// Whether namespaces have to be entered before the child is born.
    pub(crate) fn joins(&self) -> bool {
        !self.join.is_empty()
    }

    /// Enters the namespaces to join. A pid namespace is entered by the children of the caller only.
    pub(crate) fn enter(&self) -> Result<()> {
        for (fd, kinds) in &self.join {
            let flags = kinds.iter().fold(0, |flags, kind| flags | kind.flag());
            // The kinds of one pidfd go in one call: joined one by one, the user namespace would take away the right to
            // join the others, or the mount namespace the /proc to find them in.
            setns(fd, CloneFlags::from_bits_retain(flags as i32))
                .with_context(|| format!("join the {} namespace", names(kinds)))?;
        }
        Ok(())
    }

    /// Forks into the cgroup, which children of the child will then be born in as well: it lets go of the descriptor. Gives
    /// `None` in the child.
    pub(crate) fn fork_into_cgroup(&mut self) -> Result<Option<Child>> {
        let child = clone3(0, Kinship::Child, self.cgroup.as_ref().map(|fd| fd.as_fd())).context("fork")?;
        if child.is_none() {
            self.cgroup = None;
        }
        Ok(child)
    }

    /// Clones the caller into what is to be born into. Gives `None` in the child.
    pub(crate) fn clone(&self, kinship: Kinship) -> Result<Option<Child>> {
        let child = clone3(self.new, kinship, self.cgroup.as_ref().map(|fd| fd.as_fd()));
        child.or_else(|error| {
            if self.makes(Kind::User) {
                user::check_permitted()?;
            }
            let way_out = match error.raw_os_error() {
                Some(libc::EPERM) if rootless() => " (without root, a user namespace must be among them)",
                Some(libc::EPERM) => " (a process without CAP_SYS_ADMIN, or a container's seccomp filter, forbids it)",
                Some(libc::ENOSPC) => " (there are too many: raise the limits in /proc/sys/user)",
                _ => "",
            };
            let new = names(&kinds_of(self.new));
            Err(error).with_context(|| format!("make new namespaces ({new}) with clone3{way_out}"))
        })
    }
}

/// Whose child a clone becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinship {
    /// The caller's.
    Child,
    /// That of the caller's parent (`CLONE_PARENT`).
    Sibling,
}

/// Forks, without namespaces. The caller must be single-threaded; gives `None` in the child.
pub fn fork() -> Result<Option<Child>> {
    clone3(0, Kinship::Child, None).context("fork")
}

fn clone3(namespaces: u64, kinship: Kinship, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Option<Child>> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all zeroes is a valid clone_args: no stack of its own, no TLS, no tid arrays.
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.flags = namespaces | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    match kinship {
        Kinship::Child => args.exit_signal = libc::SIGCHLD as u64,
        // The signal is the caller's own then, and naming one is EINVAL.
        Kinship::Sibling => args.flags |= libc::CLONE_PARENT as u64,
    }
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with a null stack the child goes on with a copy of this one, as after fork(2). It is
    // the only thread of a copy of our memory; our process has no other thread that could hold a lock just now, which
    // the crate's documentation asks of the caller.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => {
            // SAFETY: the kernel has just stored a new descriptor there, which nobody else owns. It is close-on-exec.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(Child::new(Pid::from_raw(pid as libc::pid_t), pidfd)))
        }
    }
}

fn kinds_of(flags: u64) -> Vec<Kind> {
    Kind::ALL.into_iter().filter(|kind| flags & kind.flag() != 0).collect()
}

fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(Kind::to_string).collect::<Vec<_>>().join(", ")
}
