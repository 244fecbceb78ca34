//! Into which namespaces a child is born, and how.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Pid;
use rustix::process::Signal;

use crate::clock::Offsets;
use crate::clone::{Kinship, clone3, exit_now};
use crate::gate::Message;
use crate::{Birth, Child, Gate, Kind, StartError, permitted, rootless};

/// All that a child is born in, gathered from its isolations.
#[derive(Debug, Default)]
pub(crate) struct Births {
    new: u64,
    join: Vec<(Rc<OwnedFd>, Vec<Kind>)>,
    clocks: Option<Offsets>,
    cgroup: Option<Rc<OwnedFd>>,
}

impl Births {
    pub(crate) fn gather(births: impl Iterator<Item = Birth>) -> Births {
        let mut all = Births::default();
        for birth in births {
            match birth {
                Birth::New(kind) => all.new |= kind.flag(),
                Birth::Join(fd, kinds) => all.join.push((fd, kinds)),
                Birth::Clocks(offsets) => all.clocks = Some(offsets),
                Birth::Cgroup(fd) => all.cgroup = Some(fd),
            }
        }
        all
    }

    /// Whether a namespace of this kind is made.
    pub(crate) fn makes(&self, kind: Kind) -> bool {
        self.new & kind.flag() != 0
    }

    /// Whether somebody has to go ahead, who changes namespaces of its own before the child is born of it.
    fn need_a_pathfinder(&self) -> bool {
        !self.join.is_empty() || self.clocks.is_some()
    }

    /// Enters the namespaces to join. A pid namespace is entered by the children of the caller only.
    fn enter(&self) -> Result<()> {
        // ANCHOR: ex-enter
        // Exercise 1.8, 20 minutes. The page: 01-namespaces/joining.md; hints: cargo x hint 1.8
        todo!("exercise 1.8: Enter the namespaces of a running process")
        // ANCHOR_END: ex-enter
    }

    /// Makes the time namespace and sets its clocks.
    ///
    /// They stand still once somebody lives by them: the first process that is born there, as the child of `clone3(2)`
    /// would be. But `unshare(2)` makes a time namespace for the children of its caller only, and leaves the time to write
    /// (`time_namespaces(7)`).
    fn set_clocks(&mut self) -> Result<()> {
        let Some(offsets) = self.clocks.take() else { return Ok(()) };
        // The right to set clocks, CAP_SYS_TIME, comes with the user namespace where there is a new one.
        let flags = self.new & Kind::User.flag() | Kind::Time.flag();
        self.new &= !flags;
        // ANCHOR: ex-clocks
        // Exercise 1.6, 20 minutes. The page: 01-namespaces/others.md; hints: cargo x hint 1.6
        todo!("exercise 1.6: Set the clock before anybody lives by it")
        // ANCHOR_END: ex-clocks
    }

    /// Forks into the cgroup, which children of the child will then be born in as well: it lets go of the descriptor. Gives
    /// `None` in the child.
    fn fork_into_cgroup(&mut self) -> Result<Option<Child>> {
        let child = clone3(0, Kinship::Child, self.cgroup.as_ref().map(|fd| fd.as_fd())).context("fork")?;
        if child.is_none() {
            self.cgroup = None;
        }
        Ok(child)
    }

    /// Clones the caller into what is to be born into. Gives `None` in the child.
    fn clone(&self, kinship: Kinship) -> Result<Option<Child>> {
        let child = clone3(self.new, kinship, self.cgroup.as_ref().map(|fd| fd.as_fd()));
        child.or_else(|error| refused(self.new, error))
    }
}

/// Clones the child. Where there are namespaces to join or clocks to set, it is the child of a *pathfinder* who does that
/// first: `setns(2)` would take the caller itself there. Gives `None` in the child.
///
/// The pathfinder is born in the cgroup already, and the child is by way of it. So the child never holds the directory of
/// the cgroup, from which a process inside with CAP_SYS_PTRACE would find the way up to the host's root.
pub(crate) fn born(births: &mut Births, gate: &Gate, inner: &Gate) -> Result<Option<(Child, Option<Pathfinder>)>> {
    if !births.need_a_pathfinder() {
        return Ok(births.clone(Kinship::Child)?.map(|child| (child, None)));
    }
    let Some(pathfinder) = births.fork_into_cgroup()?.map(Pathfinder) else {
        match go_ahead(births) {
            Ok(None) => return Ok(None),
            Ok(Some(child)) => {
                let _ = inner.send(&Message::Child(child.pid().as_raw()), Some(child.pidfd()));
            }
            Err(error) => {
                let _ = inner.send(&Message::Failed(StartError::from(&error)), None);
            }
        }
        exit_now(0);
    };
    match gate.receive()? {
        Some((Message::Child(pid), Some(pidfd))) => Ok(Some((Child::new(Pid::from_raw(pid), pidfd), Some(pathfinder)))),
        Some((Message::Failed(error), _)) => Err(error.into()),
        other => Err(anyhow!("instead of the child {other:?} came from the joined namespaces")),
    }
}

/// The pathfinder, seen from outside. It ends by itself; whoever drops it sees to that, and reaps it. That takes a moment
/// which the child need not be kept waiting.
pub(crate) struct Pathfinder(Child);

impl Drop for Pathfinder {
    fn drop(&mut self) {
        // Stopped or frozen before it came to the clone, it would never end.
        let _ = self.0.signal(Signal::KILL);
        let _ = self.0.wait();
    }
}

/// As the pathfinder: goes where the child is to be born, and has it there.
fn go_ahead(births: &mut Births) -> Result<Option<Child>> {
    // As in the child: a panic that unwinds from here would run what is the parent's.
    let gone = catch_unwind(AssertUnwindSafe(|| {
        if !births.join.is_empty() {
            births.enter()?;
        }
        births.set_clocks()?;
        births.clone(Kinship::Sibling)
    }));
    gone.unwrap_or_else(|_| Err(anyhow!("the pathfinder panicked (a bug; its message stands above)")))
}

/// Says what it means that new namespaces are refused.
fn refused<T>(flags: u64, error: std::io::Error) -> Result<T> {
    if flags & Kind::User.flag() != 0 {
        permitted::check_permitted()?;
    }
    let way_out = match error.raw_os_error() {
        Some(libc::EPERM) if rootless() => " (without root, a user namespace must be among them)",
        Some(libc::EPERM) => " (a process without CAP_SYS_ADMIN, or a container's seccomp filter, forbids it)",
        Some(libc::ENOSPC) => " (there are too many, or too many in each other: raise the limits in /proc/sys/user)",
        Some(libc::ENOMEM) => " (the pid namespace to be born in is ending: its pid 1 is dead)",
        Some(libc::EINVAL) if flags & Kind::Time.flag() != 0 => " (time namespaces are there since Linux 5.6)",
        _ => "",
    };
    let new = names(&Kind::ALL.into_iter().filter(|kind| flags & kind.flag() != 0).collect::<Vec<_>>());
    Err(error).with_context(|| match new.is_empty() {
        true => format!("be born in the joined namespaces{way_out}"),
        false => format!("make new namespaces ({new}){way_out}"),
    })
}

fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(Kind::to_string).collect::<Vec<_>>().join(", ")
}
