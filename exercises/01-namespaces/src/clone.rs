//! The only `clone3(2)` of the whole tree.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::unistd::Pid;

use crate::Child;

/// `CLONE_INTO_CGROUP` of `linux/sched.h`. Not the `libc` crate's constant of that name: that one is declared as a C
/// `int`, which the value does not fit into, and is 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Whose child a clone becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinship {
    /// The caller's.
    Child,
    /// That of the caller's parent (`CLONE_PARENT`).
    Sibling,
}

/// Clones the caller into new namespaces (`CLONE_NEW…` flags) and a cgroup; gives `None` in the child.
///
/// Not `fork(2)` and `unshare(2)`: a process cannot leave its own pid namespace, only its children can be born in another.
/// And of `clone(2)` only this third version has room for a time namespace and a cgroup.
pub(crate) fn clone3(namespaces: u64, kinship: Kinship, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Option<Child>> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all zeroes is a valid clone_args: no stack of its own, no TLS, no tid arrays.
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.flags = namespaces | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    match kinship {
        Kinship::Child => args.exit_signal = libc::SIGCHLD as u64,
        // The signal is the caller's own then, and naming one is EINVAL.
        Kinship::Sibling => args.flags |= libc::CLONE_PARENT as u64,
    }
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and with a null stack the child goes on with a copy of this one, as after fork(2). It is
    // the only thread of a copy of our memory; our process has no other thread that could hold a lock just now, which
    // the crate's documentation asks of the caller.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => {
            // SAFETY: the kernel has just stored a new descriptor there, which nobody else owns. It is close-on-exec.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some(Child::new(Pid::from_raw(pid as libc::pid_t), pidfd)))
        }
    }
}

/// Ends a clone at once: no destructors and no exit handlers, which belong to the parent.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes any number and does not return.
    unsafe { libc::_exit(code) }
}
