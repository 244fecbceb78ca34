//! The parent of a virtual host: it stays in the machine's own namespaces and sees to it that the host ends.

use std::fs;
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cgroups::Cgroups;
use crate::options::Options;
use crate::{TIMED_OUT, baseline, ids, inside};

/// Makes the host, waits for it, and removes what is ours on the machine: the cgroups.
pub fn run(options: &Options) -> Result<u8> {
    // What our caller forgot to close is not the program's to inherit.
    // SAFETY: close_range(2) with CLOEXEC closes nothing now.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
        .context("mark what was inherited")?;
    baseline::set();
    // A test that is interrupted must not leave its host running.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("ask to die with the test")?;
    let cgroups = Cgroups::create(options)?;
    let ordinary = !nix::unistd::geteuid().is_root();
    if options.announce {
        let user = if ordinary { "user, " } else { "" };
        eprintln!("namespaces: {user}mount, PID, network, IPC, UTS, cgroup; limits: {}", cgroups.describe(options));
    }
    let (gate, mut open) = std::io::pipe().context("make the gate")?;
    match clone_into_new_namespaces(ordinary)? {
        Cloned::Child => {
            drop(open);
            process::exit(match wait_at(gate).and_then(|()| inside::run(options, &cgroups)) {
                Ok(code) => code.into(),
                Err(error) => {
                    eprintln!("virtual-host: {error:#}");
                    i32::from(if crate::unable(&error) { crate::UNABLE } else { crate::BROKEN })
                }
            })
        }
        Cloned::Parent { pid, pidfd } => {
            drop(gate);
            let joined = cgroups.join(pid).and_then(|()| if ordinary { ids::map(pid) } else { Ok(()) });
            if joined.is_ok() {
                open.write_all(b"!").context("open the gate")?;
            }
            drop(open);
            let code = wait_for(pid, &pidfd, options, &cgroups);
            cgroups.remove();
            joined?;
            code
        }
    }
}

enum Cloned {
    Child,
    Parent { pid: Pid, pidfd: OwnedFd },
}

/// clone3(2): the child is process 1 of the new PID namespace, and no second fork is needed.
///
/// An ordinary user needs a user namespace first, which then owns the others.
fn clone_into_new_namespaces(ordinary: bool) -> Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all-zero is a valid clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let user = if ordinary { libc::CLONE_NEWUSER } else { 0 };
    args.flags = (user
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_PIDFD) as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM this is a fork; this program has one thread, so the child may do anything.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    match Errno::result(pid).context("clone3 with new namespaces")? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent {
            pid: Pid::from_raw(pid as i32),
            // SAFETY: the kernel has just made this descriptor for us.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// Blocks until the parent has put us into our cgroups; an end of file means that it could not.
fn wait_at(mut gate: PipeReader) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("ask to die with the parent")?;
    gate.read_exact(&mut [0]).context("wait for the parent")
}

/// The host's exit code, or [`TIMED_OUT`] after having listed and killed what still ran.
fn wait_for(pid: Pid, pidfd: &OwnedFd, options: &Options, cgroups: &Cgroups) -> Result<u8> {
    let milliseconds = i32::try_from(options.timeout.as_millis()).unwrap_or(i32::MAX);
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let timed_out = poll(&mut fds, PollTimeout::try_from(milliseconds)?).context("wait for the virtual host")? == 0;
    if timed_out {
        eprintln!("virtual-host: not done after {} s; still there:", options.timeout.as_secs());
        for pid in cgroups.processes() {
            eprintln!("  {}", describe(pid));
        }
        // Process 1 takes its whole namespace with it.
        kill(pid, Signal::SIGKILL).context("kill the virtual host")?;
    }
    match waitpid(pid, None).context("wait for the virtual host")? {
        _ if timed_out => Ok(TIMED_OUT),
        WaitStatus::Exited(_, code) => Ok(code as u8),
        WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as u8),
        other => anyhow::bail!("unexpected end of the virtual host: {other:?}"),
    }
}

/// One line about a process: enough to see who waits for what.
fn describe(pid: i32) -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    let state = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').next()).unwrap_or("?").to_owned();
    format!("{pid} {state} {:<20} {}", read("wchan"), read("cmdline").replace('\0', " "))
}
