//! Signals by number and by name, the real-time ones (`signal(7)`) included.

use std::io;
use std::ptr;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

/// The last one, `_NSIG`, which is SIGRTMAX.
const LAST: i32 = 64;
/// SIGRTMIN as every program counts. The kernel's is 32, and the C library keeps two for its threads (`signal(7)`).
const FIRST_REAL_TIME: i32 = 34;

/// A signal by its number. `None` for what is no signal, and for 32 and 33, which are the C library's own.
pub fn by_number(number: i32) -> Option<rustix::process::Signal> {
    match number {
        // SAFETY: these are the real-time signals that the C library leaves to programs.
        FIRST_REAL_TIME..=LAST => Some(unsafe { rustix::process::Signal::from_raw_unchecked(number) }),
        _ => rustix::process::Signal::from_named_raw(number),
    }
}

/// The number of a signal that somebody names, as Docker takes it: `TERM`, `SIGTERM`, `sigterm` or `15`; real-time ones
/// by number or counted from either end, `RTMIN+3` (with which systemd is asked to halt), `SIGRTMAX-2`.
pub fn parse(text: &str) -> Option<i32> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return by_number(number).map(|signal| signal.as_raw());
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let name = match name {
        // Other names of the same.
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        name => name,
    };
    let real_time = name.strip_prefix("RTMIN").map(|offset| (FIRST_REAL_TIME, offset));
    match real_time.or(name.strip_prefix("RTMAX").map(|offset| (LAST, offset))) {
        Some((end, "")) => Some(end),
        Some((end, offset)) => {
            let sign = if end == LAST { '-' } else { '+' };
            let count = offset.strip_prefix(sign)?;
            let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
            let offset: i32 = digits.then(|| offset.parse().ok()).flatten()?;
            Some(end.checked_add(offset)?).filter(|number| (FIRST_REAL_TIME..=LAST).contains(number))
        }
        None => format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32),
    }
}

/// Signals that a process can pass on to another: all that can be caught, but for those that tell of the process's own
/// faults and children, and those by which a terminal stops its jobs.
pub fn forwardable() -> SigSet {
    use Signal::*;
    let kept = [SIGKILL, SIGSTOP, SIGCHLD, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS];
    let of_jobs = [SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGPIPE, SIGURG];
    let mut set = SigSet::all();
    kept.into_iter().chain(of_jobs).for_each(|signal| set.remove(signal));
    set
}

/// Gives every signal its default action back and unblocks all: `execve(2)` keeps what is ignored and what is blocked,
/// and Rust's runtime ignores SIGPIPE.
///
/// By the bare system calls: the C library's functions leave out 32 and 33, which a caller may have ignored all the same.
pub(crate) fn reset() -> Result<()> {
    const SET_SIZE: usize = 8;
    // `struct sigaction` as the kernel has it, on every architecture at most this big: a null handler is SIG_DFL, and no
    // flags and an empty mask are zero.
    let default = [0u64; 4];
    for number in (1..=LAST).filter(|number| ![libc::SIGKILL, libc::SIGSTOP].contains(number)) {
        // SAFETY: the kernel reads from `default` and writes nothing; the default action runs no code of ours.
        let done = unsafe {
            libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), ptr::null_mut::<u64>(), SET_SIZE)
        };
        succeeded(done).with_context(|| format!("reset signal {number}"))?;
    }
    let none = 0u64;
    // SAFETY: the kernel reads eight bytes and writes nothing.
    let done = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, ptr::null_mut::<u64>(), SET_SIZE)
    };
    succeeded(done).context("unblock the signals")
}

fn succeeded(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
