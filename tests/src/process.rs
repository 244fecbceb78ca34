//! Processes of others, by their numbers: what they are at, whose they are, stopping and killing them.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually;

/// The state of a process, a letter of `/proc/PID/stat` (`proc_pid_stat(5)`); `?` for one that is gone.
pub fn state(pid: i32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
}

/// Who has to wait for it.
pub fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    line.trim().parse().expect("a number")
}

/// The children of a process with one thread; there is one at least.
pub fn children(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
    let children: Vec<i32> = children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect();
    assert!(!children.is_empty(), "{pid} has no child");
    children
}

/// Whether it stands in a call that waits for what somebody else has to say (`proc_pid_syscall(5)`).
pub fn listens(pid: i32) -> bool {
    let calls = [
        libc::SYS_ppoll,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
    ];
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split(' ').next().and_then(|number| number.parse().ok()).is_some_and(|number| calls.contains(&number))
}

/// Sends SIGKILL and comes back when the process is gone, or a zombie: what it held, locks and sockets, nobody holds then.
pub fn kill9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill it");
    eventually("it is dead", || matches!(state(pid), '?' | 'Z' | 'X'));
}

/// Sends SIGSTOP and comes back when the process stands still: on another processor it may go on after kill(2) has returned.
pub fn stop(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("stop it");
    eventually("it stands still", || state(pid) == 'T');
}

/// Lets it go on.
pub fn go_on(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGCONT).expect("let it go on");
}
