//! Waiting for a child, and passing signals on meanwhile.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::WaitStatus;

use crate::Child;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status, 0 to 255.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl Exit {
    /// The status that a shell shows for it: the code itself, or 128 and the number of the signal.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

impl From<WaitStatus> for Exit {
    fn from(status: WaitStatus) -> Exit {
        match status {
            WaitStatus::Exited(_, code) => Exit::Code(code),
            WaitStatus::Signaled(_, signal, _) => Exit::Signal(signal as i32),
            other => unreachable!("waited for an end and got {other:?}"),
        }
    }
}

/// Signals that a process can pass on to another: all that can be caught, but for those that tell of the process's own
/// faults and children, and those by which a terminal stops its jobs.
pub fn forwardable() -> SigSet {
    use Signal::*;
    let kept = [SIGKILL, SIGSTOP, SIGCHLD, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS];
    let of_jobs = [SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGPIPE, SIGURG];
    Signal::iterator().filter(|signal| !kept.contains(signal) && !of_jobs.contains(signal)).collect()
}

/// Holds the forwardable signals back from here on: they are read from the descriptor and have no other effect on us.
///
/// SIGPIPE is ignored as well. Whoever we carry bytes to meanwhile may hang up; the write tells it, and that is no reason
/// for us to die.
pub fn hold_signals() -> Result<SignalFd> {
    let set = forwardable();
    set.thread_block().context("block the signals to forward")?;
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.context("ignore SIGPIPE")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")
}

/// Passes the signals that reach us on to a child.
///
/// Made before the child is, so that none is lost in between; from then on they no longer have their usual effect on
/// us.
pub struct Forwarder {
    signals: SignalFd,
}

impl Forwarder {
    /// Begins to hold signals back for the child that will be.
    pub fn new() -> Result<Forwarder> {
        Ok(Forwarder { signals: hold_signals()? })
    }

    /// Forwards until the child has ended. Does not reap it.
    pub fn until_end(&self, child: &Child) -> Result<()> {
        self.until_end_serving(child, None::<(&Child, fn() -> Result<()>)>)
    }

    /// The same, and calls `turn` whenever `service` is readable.
    pub fn until_end_serving<S: AsFd, F: FnMut() -> Result<()>>(
        &self,
        child: &Child,
        mut service: Option<(S, F)>,
    ) -> Result<()> {
        loop {
            let mut fds = vec![PollFd::new(child.pidfd(), PollFlags::POLLIN)];
            fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
            if let Some((source, _)) = &service {
                fds.push(PollFd::new(source.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("poll"),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            if ready[0] {
                return Ok(());
            }
            self.forward(child)?;
            if let (Some((_, turn)), Some(true)) = (&mut service, ready.get(2)) {
                turn()?;
            }
        }
    }

    fn forward(&self, child: &Child) -> Result<()> {
        while let Some(info) = self.signals.read_signal().context("read a signal")? {
            // What the terminal sends (^C) goes to its whole foreground group: the child has had it already.
            if info.ssi_code == libc::SI_KERNEL {
                continue;
            }
            if let Some(signal) = rustix::process::Signal::from_named_raw(info.ssi_signo as i32) {
                child.signal(signal)?;
            }
        }
        Ok(())
    }
}
