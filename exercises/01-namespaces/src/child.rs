//! The child, seen from outside.

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::{Exit, Kind};

/// A child process, held by a pidfd: unlike its number, that can never come to name another process (`pidfd_open(2)`).
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    gifts: RefCell<Vec<(String, OwnedFd)>>,
}

impl Child {
    /// A child that `clone3` has just given us.
    pub(crate) fn new(pid: Pid, pidfd: OwnedFd) -> Child {
        Child { pid, pidfd, gifts: RefCell::default() }
    }

    /// Its number in our own pid namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its number where `/proc` is mounted, which may be in a pid namespace further up than our own: `ex01 run` changes
    /// the one and not the other.
    pub fn pid_in_proc(&self) -> Result<i32> {
        pid_in_proc(self.pidfd())?.with_context(|| format!("process {} has ended", self.pid))
    }

    /// Its pidfd: readable once the child is dead, good for `setns(2)` while it lives.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Opens one of its namespaces.
    pub fn namespace(&self, kind: Kind) -> Result<OwnedFd> {
        let path = format!("/proc/{}/ns/{kind}", self.pid_in_proc()?);
        let file = File::open(&path).with_context(|| format!("open {path}"))?;
        Ok(file.into())
    }

    /// Gives it a descriptor, in [`Isolation::outside`](crate::Isolation::outside): inside, the same isolation takes it
    /// from the gate ([`Gate::take_fd`](crate::Gate::take_fd)). For what can only be made outside, and not before the
    /// child has its namespaces.
    pub fn give(&self, name: &str, fd: OwnedFd) {
        self.gifts.borrow_mut().push((name.into(), fd));
    }

    pub(crate) fn gifts(&self) -> Vec<(String, OwnedFd)> {
        self.gifts.take()
    }

    /// Sends it a signal. That it is dead already is no error.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("send signal {} to {}", signal.as_raw(), self.pid)),
        }
    }

    /// Waits for its end and reaps it.
    pub fn wait(&self) -> Result<Exit> {
        // ANCHOR: ex-wait
        // Exercise 1.1, 20 minutes. The page: 01-namespaces/processes.md; hints: cargo x hint 1.1
        todo!("exercise 1.1: Wait for the child and give its exit status back")
        // ANCHOR_END: ex-wait
    }

    /// Whether it has been stopped since this was asked last.
    pub(crate) fn has_stopped(&self) -> bool {
        let stops = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        waitid(WaitId::PidFd(self.pidfd()), stops).is_ok_and(|status| status.is_some_and(|status| status.stopped()))
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd()
    }
}

/// The number that the process of a pidfd has in the pid namespace of `/proc`; `None` once it has been reaped.
///
/// The kernel tells it in the line `Pid:` of `/proc/self/fdinfo/FD` (`pidfd_open(2)`). What is read of `/proc/NUMBER`
/// before such an answer was of this very process: as long as it lives, its number is nobody else's.
pub(crate) fn pid_in_proc(pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path} (is /proc mounted?)"))?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("Pid:")).with_context(|| format!("{path} has no Pid:"))?;
    Ok(line.trim().parse().ok().filter(|pid| *pid > 0))
}
