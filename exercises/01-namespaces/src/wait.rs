//! Waiting for a child, and passing signals on meanwhile.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, raise, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};

use crate::{Child, signals};

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

impl Exit {
    /// From what `wait(2)` tells of a child that has ended: its status, or else the signal that has killed it.
    pub(crate) fn told(status: Option<i32>, signal: Option<i32>) -> Exit {
        status.map(Exit::Code).or(signal.map(Exit::Signal)).expect("an end is one or the other")
    }
}

/// Holds the forwardable signals back from here on: they are read from the descriptor and have no other effect on us.
///
/// SIGPIPE is ignored as well. Whoever we carry bytes to meanwhile may hang up; the write tells it, and that is no reason
/// for us to die.
pub fn hold_signals() -> Result<SignalFd> {
    hold(signals::forwardable())
}

fn hold(set: SigSet) -> Result<SignalFd> {
    set.thread_block().context("block the signals to forward")?;
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.context("ignore SIGPIPE")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")
}

/// Passes the signals that reach us on to a child, and stops and goes on with it, as one job of the shell.
///
/// Made before the child is, so that none is lost in between; from then on they no longer have their usual effect on
/// us.
pub struct Forwarder {
    signals: SignalFd,
}

impl Forwarder {
    /// Begins to hold signals back for the child that will be.
    pub fn new() -> Result<Forwarder> {
        let mut set = signals::forwardable();
        [Signal::SIGCHLD, Signal::SIGTSTP, Signal::SIGCONT].into_iter().for_each(|signal| set.add(signal));
        Ok(Forwarder { signals: hold(set)? })
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
            while let Some(info) = self.signals.read_signal().context("read a signal")? {
                forward(&info, child)?;
            }
            if let (Some((_, turn)), Some(true)) = (&mut service, ready.get(2)) {
                turn()?;
            }
        }
    }
}

fn forward(info: &siginfo, child: &Child) -> Result<()> {
    let number = info.ssi_signo as i32;
    // What the terminal sends (^C) goes to its whole foreground group: the child has had it already.
    let from_keyboard = info.ssi_code == libc::SI_KERNEL;
    match number {
        libc::SIGCHLD if child.has_stopped() => stop_with(child),
        libc::SIGCHLD => Ok(()),
        libc::SIGTSTP if from_keyboard => stop_with(child),
        _ if from_keyboard => Ok(()),
        _ => signals::by_number(number).map_or(Ok(()), |signal| child.signal(signal)),
    }
}

/// Stops us, so that the shell sees a stopped job; when it has us go on, so does the child.
fn stop_with(child: &Child) -> Result<()> {
    raise(Signal::SIGSTOP).context("stop")?;
    child.signal(rustix::process::Signal::CONT)
}
