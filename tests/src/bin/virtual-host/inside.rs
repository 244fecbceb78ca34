//! Process 1 of a virtual host, from its first instruction to the verdict.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pause, sethostname, setsid};

use crate::LEAKED;
use crate::cgroups::Cgroups;
use crate::delegated::Delegated;
use crate::leaks::{Snapshot, processes};
use crate::mounts;
use crate::options::Options;

/// Called in process 1, which is in its cgroups already.
pub fn run(options: &Options, cgroups: &Cgroups) -> Result<u8> {
    if !cgroups.made {
        limits(options)?;
    }
    // No terminal of the machine's.
    setsid().context("make a session")?;
    // Only now: a cgroup namespace is rooted at what its maker is a member of.
    unshare(CloneFlags::CLONE_NEWCGROUP).context("unshare the cgroup namespace")?;
    mounts::set_up(options, cgroups)?;
    step_aside(cgroups)?;
    sethostname("virtual-host").context("set the host name")?;
    loopback_up().context("bring the loopback interface up")?;
    let canary = start_canary()?;
    let cell = options.user.map(|user| Delegated::to(user, cgroups)).transpose()?;
    let before = Snapshot::take(cgroups)?;
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]).env_clear().envs(environment()).current_dir(mounts::WORK).stdin(Stdio::null());
    if let Some(cell) = &cell {
        cell.start_in(&mut command);
    }
    // A process group of its own: what it does to its group it does not do to us.
    let child = command.process_group(0).spawn().with_context(|| format!("start {:?}", options.command[0]))?;
    let code = reap_until(Pid::from_raw(child.id() as i32))?;
    if let Some(cell) = &cell {
        cell.tidy();
    }
    if !options.strict {
        return Ok(code);
    }
    let left = what_is_left(&before, cgroups, canary, options.grace)?;
    if left.is_empty() {
        return Ok(code);
    }
    eprintln!("virtual-host: left behind:");
    for line in left {
        eprintln!("  {line}");
    }
    Ok(if code == 0 { LEAKED } else { code })
}

/// What an ordinary user without a cgroup has. Processes are counted per user namespace since Linux 5.14, so the limit is on
/// those of the virtual host; memory is limited for each process alone.
fn limits(options: &Options) -> Result<()> {
    for (resource, most) in [(Resource::RLIMIT_NPROC, options.pids), (Resource::RLIMIT_DATA, options.memory)] {
        setrlimit(resource, most, most).with_context(|| format!("set {resource:?}"))?;
    }
    // SAFETY: nice(2) takes a number. It leaves the machine to others.
    let _ = unsafe { libc::nice(5) };
    Ok(())
}

/// On v2 a cgroup has processes or children with controllers, not both: leave the root of our namespace to children.
fn step_aside(cgroups: &Cgroups) -> Result<()> {
    let [only] = &cgroups.hierarchies[..] else { return Ok(()) };
    if only.v1_options.is_some() || !cgroups.made {
        return Ok(());
    }
    let own = only.mountpoint.join("init");
    fs::create_dir(&own).context("make the cgroup init")?;
    fs::write(own.join("cgroup.procs"), "0").context("join the cgroup init")?;
    let controllers = fs::read_to_string(only.mountpoint.join("cgroup.controllers"))?;
    for controller in controllers.split_whitespace() {
        let _ = fs::write(only.mountpoint.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    Ok(())
}

fn loopback_up() -> Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: netdevice(7): SIOCSIFFLAGS reads one ifreq.
    let done = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&any), libc::SIOCSIFFLAGS, &raw const request) };
    nix::errno::Errno::result(done)?;
    Ok(())
}

/// A process that only waits. If it is gone at the end, something reached out of where it was meant to stay.
fn start_canary() -> Result<Pid> {
    // SAFETY: this program has one thread.
    match unsafe { fork() }.context("start the canary")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let _ = setsid();
            loop {
                pause();
            }
        }
    }
}

/// What a program sees in the place of our caller's environment: nothing that differs from one machine to the next.
fn environment() -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", mounts::HOME),
        ("LANG", "C.UTF-8"),
        ("MINIDOCKER_ROOT", mounts::ROOT),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    variables.extend(std::env::vars().filter(|(key, _)| key.starts_with("SUITE_") || key.starts_with("INSTA_")));
    variables
}

/// Reaps whoever ends until `program` has; its exit code, or 128 + the signal.
fn reap_until(program: Pid) -> Result<u8> {
    loop {
        match waitpid(None, None).context("wait for the program")? {
            WaitStatus::Exited(pid, code) if pid == program => return Ok(code as u8),
            WaitStatus::Signaled(pid, signal, _) if pid == program => return Ok(128 + signal as u8),
            _ => {}
        }
    }
}

/// Compares with `before`, again and again while the kernel or a monitor still tidies up.
fn what_is_left(before: &Snapshot, cgroups: &Cgroups, canary: Pid, grace: Duration) -> Result<Vec<String>> {
    let deadline = Instant::now() + grace;
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        let mut left = Vec::new();
        if !lives(canary) {
            left.push("the canary is dead".to_owned());
            return Ok(left);
        }
        left.extend(processes(&[Pid::this(), canary]));
        left.extend(Snapshot::take(cgroups)?.added_to(before));
        if left.is_empty() {
            kill(canary, Signal::SIGKILL).context("release the canary")?;
            return Ok(left);
        }
        if Instant::now() > deadline {
            return Ok(left);
        }
        sleep(Duration::from_millis(5));
    }
}

/// Whether a process exists, is no zombie and has no signal on its way.
fn lives(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    let pending = format!("{}{}", field("SigPnd:"), field("ShdPnd:"));
    !field("State:").starts_with(['?', 'Z', 'X']) && pending.bytes().all(|digit| digit == b'0')
}
