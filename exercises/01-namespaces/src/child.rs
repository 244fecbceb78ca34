//! The child, seen from outside.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use rustix::process::{Signal, pidfd_send_signal};

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

    /// Its pidfd: readable once the child is dead, good for `setns(2)` while it lives.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Opens one of its namespaces.
    pub fn namespace(&self, kind: Kind) -> Result<OwnedFd> {
        let path = format!("/proc/{}/ns/{kind}", self.pid);
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
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("send signal {} to {}", signal.as_raw(), self.pid)),
        }
    }

    /// Waits for its end and reaps it.
    pub fn wait(&self) -> Result<Exit> {
        loop {
            match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED) {
                Ok(status) => return Ok(Exit::from(status)),
                Err(nix::Error::EINTR) => continue,
                Err(error) => return Err(error).with_context(|| format!("wait for {}", self.pid)),
            }
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd()
    }
}
