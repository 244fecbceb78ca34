//! `virtual-host [OPTIONS] -- PROGRAM ARGS…`: runs a program in a machine of its own, and says what it left behind.
//!
//! Suites attack: fork bombs, `kill -9 -1`, memory hogs, shared mounts, firewall rules. Nothing of that may reach the machine
//! they run on, so each test gets a *virtual host*: fresh mount, network, PID, IPC, UTS and cgroup namespaces below a cgroup
//! with limits, a read-only view of the machine's files, temporary directories of its own, and a **canary**, a process that
//! does nothing and must survive. When the program has ended, whatever it left (mounts, links, cgroups, nftables, processes,
//! files) is listed and makes the run fail.
//!
//! It is a container engine in small, and on purpose shares no line with the one under test. In reading order:
//!
//! * [`options`]: the command line.
//! * [`baseline`]: what is inherited, the same whoever calls.
//! * [`outside`]: the parent: cgroups, clone, the time limit, tidying up.
//! * [`cgroups`]: which hierarchies the machine has, and our place in each.
//! * [`ids`]: who is who in the virtual host of an ordinary user.
//! * [`delegated`]: what an ordinary user is given, where one runs the program.
//! * [`inside`]: process 1 of the virtual host: set up, canary, program, reaping, verdict.
//! * [`mounts`]: the file system it sees.
//! * [`leaks`]: before and after.
//! * [`nftables`]: which tables there are, by netlink.

mod baseline;
mod cgroups;
mod delegated;
mod ids;
mod inside;
mod leaks;
mod mounts;
mod nftables;
mod options;
mod outside;

use std::process::ExitCode;

/// The virtual host could not be made: a bug, or a machine unlike those we know.
const BROKEN: u8 = 96;
/// The program ended well and left something behind.
const LEAKED: u8 = 97;
/// The program did not end in time.
const TIMED_OUT: u8 = 98;
/// This machine cannot make virtual hosts (no privileges: neither root's nor user namespaces).
const UNABLE: u8 = 95;

fn main() -> ExitCode {
    let options = match options::Options::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("virtual-host: {error:#}");
            return ExitCode::from(BROKEN);
        }
    };
    match outside::run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("virtual-host: {error:#}");
            ExitCode::from(if unable(&error) { UNABLE } else { BROKEN })
        }
    }
}

/// Whether an error says that we lack the right, rather than that something is wrong.
fn unable(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| matches!(e.kind(), PermissionDenied | ReadOnlyFilesystem))
            || matches!(cause.downcast_ref::<nix::Error>(), Some(nix::Error::EPERM | nix::Error::EACCES))
    })
}
