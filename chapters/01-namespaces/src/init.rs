//! The duties of pid 1.
//!
//! The first process of a pid namespace is different in two ways (`pid_namespaces(7)`). It inherits every orphan of the
//! namespace, and whoever inherits must reap, or dead processes pile up until no number is left. And a signal whose
//! action is the default one does not reach it: `kill -TERM 1` does nothing to a program that has no handler, which is
//! most programs. `--init` gives both duties to a process that has nothing else to do.

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::process::{WaitOptions, kill_process, wait};

use crate::clone::exit_now;
use crate::{Exit, Process, signals};

/// Forks: returns in the child, which is to become the payload. The caller stays behind as pid 1 and ends as the
/// payload ends; it does not return.
///
/// Called in the child of `clone3`, with every descriptor above 2 marked close-on-exec.
pub(crate) fn become_init(process: &Process) -> Result<()> {
    // ANCHOR: become-init
    SigSet::all().thread_block().context("block the signals of pid 1")?;
    show(process);
    // SAFETY: this process has one thread, so the child may do whatever it likes.
    match unsafe { fork() }.context("fork the payload")? {
        // Without a pid namespace to take the payload with it, whoever kills init would leave the payload behind.
        ForkResult::Child => prctl::set_pdeathsig(Signal::SIGKILL).context("ask to die with init"),
        ForkResult::Parent { child } => {
            // Our copies of the descriptors would hold the gate open, and the engine waits for it to close.
            // SAFETY: nothing of this process uses a descriptor above 2 from here on.
            unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
            let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC).context("signalfd")?;
            exit_now(until_end(child, &signals).code())
        }
    }
    // ANCHOR_END: become-init
}

/// Goes by the name of init, with the payload's environment: what stood there until now is the engine's.
///
/// Called before the fork. A payload that looks at its pid 1 at once may run before its parent does again, and would read
/// the engine's environment, with whatever secret is in it.
fn show(process: &Process) {
    let _ = prctl::set_name(c"init");
    if let Some(title) = process.title() {
        let words = ["init", "--"].map(Into::into).into_iter();
        let argv: Vec<_> = words.chain(process.argv.iter().cloned()).collect();
        // SAFETY: this is a clone, with one thread, of the process that located them, and neither it nor its child, which
        // executes the payload, looks at them.
        unsafe { title.show(&argv, &process.env) };
    }
}

/// Reaps whoever ends and forwards every other signal, until the payload has ended.
// ANCHOR: until-end
fn until_end(payload: Pid, signals: &SignalFd) -> Exit {
    loop {
        let Ok(Some(signal)) = signals.read_signal() else {
            continue; // interrupted, by a signal that stops or continues
        };
        if signal.ssi_signo == libc::SIGCHLD as u32 {
            if let Some(exit) = reap(payload) {
                return exit;
            }
        } else {
            forward(payload, signal.ssi_signo as i32, signal.ssi_code);
        }
    }
}
// ANCHOR_END: until-end

/// Reaps all that have ended and tells whether the payload was among them.
// ANCHOR: reap
fn reap(payload: Pid) -> Option<Exit> {
    // ANCHOR: ex-reap
    // A signal that is pending already is not queued a second time: one SIGCHLD may stand for several ends.
    let mut end = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == payload.as_raw() {
            end = Some(Exit::told(status.exit_status(), status.terminating_signal()));
        }
    }
    end
    // ANCHOR_END: ex-reap
}
// ANCHOR_END: reap

/// Passes a signal on to the payload, unless it has had it: what the keyboard sends goes to the whole foreground group of
/// the terminal, and the payload is in ours.
fn forward(payload: Pid, number: i32, code: i32) {
    // ANCHOR: ex-forward
    if code == libc::SI_KERNEL {
        return;
    }
    let payload = rustix::process::Pid::from_raw(payload.as_raw());
    if let (Some(payload), Some(signal)) = (payload, signals::by_number(number)) {
        let _ = kill_process(payload, signal); // it may have ended just now
    }
    // ANCHOR_END: ex-forward
}
