//! What a process inherits from whoever started it, made the same for every caller.
//!
//! Umask, groups, signals and limits come down from a shell, a service manager or a CI runner to the programs under test, and each of
//! these has its own. A test that passes under one would fail under another. What cannot be put back without CAP_SYS_RESOURCE
//! (a low hard limit, a high oom score) stays as it is.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::setgroups;

/// Open files, soft and hard: more than any test needs, and neither of the limits that engines are known to set.
const OPEN_FILES: u64 = 16_384;
/// Bytes of stack, soft: the kernel's own default.
const STACK: u64 = 8 << 20;

/// All of them that matter to a program that does not ask for real time.
const LIMITS: [Resource; 13] = [
    Resource::RLIMIT_AS,
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_LOCKS,
    Resource::RLIMIT_MEMLOCK,
    Resource::RLIMIT_MSGQUEUE,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_SIGPENDING,
    Resource::RLIMIT_STACK,
];

/// Called before anything is made or started.
pub fn set() {
    umask(Mode::from_bits_truncate(0o022));
    signals();
    limits();
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    // Root's of some distributions are a dozen. An ordinary user may not, and keeps them.
    let _ = setgroups(&[]);
    // SAFETY: personality(2) takes a number; 0 is PER_LINUX, with addresses at random.
    unsafe { libc::personality(0) };
}

/// An ignored signal stays ignored through execve(2), as nohup(1) wants; an ignored SIGCHLD even makes waitpid(2) fail.
///
/// (The mask is std's to empty, in each child that it starts; SIGPIPE too.)
fn signals() {
    for signal in 1..=libc::SIGRTMAX() {
        if ![libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE].contains(&signal) {
            // SAFETY: no handler is installed; numbers that the C library keeps to itself are refused.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// Every soft limit as high as its hard one, except those of which a program can have too much.
fn limits() {
    // Refused where the hard limit is lower and not ours to raise.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES);
    for resource in LIMITS {
        let Ok((_, hard)) = getrlimit(resource) else { continue };
        let soft = match resource {
            Resource::RLIMIT_CORE => 0,
            Resource::RLIMIT_STACK => STACK.min(hard),
            _ => hard,
        };
        let _ = setrlimit(resource, soft, hard);
    }
}
