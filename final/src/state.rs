//! What has happened to a container: written by its monitor, read by everybody.

use std::fs;

use network::Endpoint;
use serde::{Deserialize, Serialize};

/// The content of `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Whether the main process was started and has not been seen to end.
    pub running: bool,
    /// The pid of the main process on the host, 0 when there is none.
    pub pid: i32,
    /// When that process was started, in the kernel's ticks since boot: a pid alone may come to name another one.
    pub pid_started: u64,
    /// When it was started, as RFC 3339 in UTC; empty if never.
    pub started: String,
    /// When it ended; empty if it has not.
    pub finished: String,
    /// Its exit status.
    pub exit_code: i32,
    /// Whether the kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// Why it could not be started.
    pub error: String,
    /// Where it is to be found on its network.
    pub endpoint: Endpoint,
}

/// When a process was started, in ticks since boot. `None` if there is no such process, or only what is left of one.
pub fn process_started(pid: i32) -> Option<u64> {
    let (state, started) = process(pid)?;
    (!matches!(state, 'Z' | 'X')).then_some(started)
}

/// Whether a process is stopped (SIGSTOP, or by a tracer): it answers nobody until somebody lets it go on.
pub fn is_stopped(pid: i32) -> bool {
    process(pid).is_some_and(|(state, _)| matches!(state, 'T' | 't'))
}

/// Fields 3 and 22 of `/proc/PID/stat`, `proc_pid_stat(5)`: the state, and when it was started.
fn process(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command's name in parentheses and may itself hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_ourselves_were_started() {
        assert!(process_started(std::process::id() as i32).unwrap() > 0);
        assert_eq!(process_started(i32::MAX), None);
        assert!(!is_stopped(std::process::id() as i32) && !is_stopped(i32::MAX));
    }
}
