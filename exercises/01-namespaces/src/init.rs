//! The duties of pid 1.
//!
//! The first process of a pid namespace is different in two ways (`pid_namespaces(7)`). It inherits every orphan of the
//! namespace, and whoever inherits must reap, or dead processes pile up until no number is left. And a signal whose
//! action is the default one does not reach it: `kill -TERM 1` does nothing to a program that has no handler, which is
//! most programs. `--init` gives both duties to a process that has nothing else to do.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, isatty, setpgid, tcsetpgrp};

use crate::Exit;
use crate::container::exit_now;

/// Forks: returns in the child, which is to become the payload. The caller stays behind as pid 1 and ends as the
/// payload ends; it does not return.
///
/// Called in the child of `clone3`, with every descriptor above 2 marked close-on-exec.
pub(crate) fn become_init() -> Result<()> {
    SigSet::all().thread_block().context("block the signals of pid 1")?;
    // SAFETY: this process has one thread, so the child may do whatever it likes.
    match unsafe { fork() }.context("fork the payload")? {
        ForkResult::Child => own_group(),
        ForkResult::Parent { child } => {
            // Our copies of the descriptors would hold the gate open, and the engine waits for it to close.
            // SAFETY: nothing of this process uses a descriptor above 2 from here on.
            unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
            exit_now(reap_until_end(child).code())
        }
    }
}

/// A process group of the payload's own, in the foreground of the terminal if there is one: what the keyboard sends goes
/// to it directly, and pid 1 need not tell such signals from others.
fn own_group() -> Result<()> {
    let group = Pid::from_raw(0);
    setpgid(group, group).context("make a process group")?;
    if isatty(std::io::stdin()).unwrap_or(false) {
        // EPERM and ENOTTY: a terminal, but not the controlling one of this session. There are no jobs to control then.
        let _ = tcsetpgrp(std::io::stdin(), nix::unistd::getpid());
    }
    Ok(())
}

/// Reaps whoever ends and forwards every other signal, until the payload has ended.
fn reap_until_end(payload: Pid) -> Exit {
    loop {
        match SigSet::all().wait() {
            Ok(Signal::SIGCHLD) => {}
            Ok(signal) => {
                let _ = kill(payload, signal);
                continue;
            }
            Err(_) => continue, // a real-time signal, which `Signal` has no name for
        }
        if let Some(exit) = reap(payload) {
            return exit;
        }
    }
}

/// Reaps all that have ended (one SIGCHLD may stand for several) and tells whether the payload was among them.
fn reap(payload: Pid) -> Option<Exit> {
    let mut end = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(status @ (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _))) if pid == payload => {
                end = Some(Exit::from(status));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return end,
            Ok(_) | Err(_) => {}
        }
    }
}
